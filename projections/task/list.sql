CREATE TABLE task_list (
    task_id uuid,
    workspace_id uuid NOT NULL,
    created_position bigint NOT NULL,
    created_at timestamptz NOT NULL,
    created_by uuid NOT NULL,
    status text NOT NULL,
    priority smallint NOT NULL,
    due_at timestamptz,
    -- In tenths of a point.
    estimate smallint,
    deleted boolean NOT NULL,
    project_id uuid,
    terms text[] NOT NULL,
    words tsvector NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    -- Since when facets and words are as they are. Of imported tasks also by when that had happened.
    since bigint NOT NULL,
    since_at timestamptz,
    text_since bigint NOT NULL,
    text_since_at timestamptz,
    summary bytea NOT NULL,
    detail bytea NOT NULL,
    -- What comparisons ask of a thousand tasks stands in the index.
    PRIMARY KEY (task_id) INCLUDE (workspace_id, created_position)
) WITH (fillfactor = 80);
CREATE INDEX ON task_list (workspace_id, created_position, since, status, deleted);
CREATE INDEX ON task_list (workspace_id, status, created_position);
CREATE INDEX ON task_list (workspace_id, created_by, created_position);
CREATE INDEX ON task_list (workspace_id, project_id, created_position);
-- Those of an order end with what most lists are filtered by: what is not wanted is passed over without a look at its row.
CREATE INDEX ON task_list (workspace_id, created_at, created_position, status, deleted, since);
CREATE INDEX ON task_list (workspace_id, priority, created_position, status, deleted, since);
-- Tasks without a due date or estimate come last in either direction, so each direction has an index of its own.
CREATE INDEX ON task_list (workspace_id, coalesce(due_at, 'infinity'), created_position, status, deleted, since);
CREATE INDEX ON task_list (workspace_id, coalesce(due_at, '-infinity'), created_position, status, deleted, since);
CREATE INDEX ON task_list (workspace_id, coalesce(estimate, 32767::smallint), created_position, status, deleted, since);
CREATE INDEX ON task_list (workspace_id, coalesce(estimate, '-1'::smallint), created_position, status, deleted, since);
CREATE INDEX ON task_list (workspace_id, created_position) WHERE deleted;
CREATE INDEX ON task_list USING gin (terms);
CREATE INDEX ON task_list USING gin (words);

-- What lists were chosen and sorted by before it changed: each row for positions from_position to to_position, both included. Rows
-- are only ever added. node: see projections/tables/intervals.py. Of imported tasks the same by when things had happened: from
-- from_at until before to_at, and that range's node, unless it is empty.
CREATE TABLE task_list_past (
    workspace_id uuid NOT NULL,
    task_id uuid NOT NULL,
    created_position bigint NOT NULL,
    from_position bigint NOT NULL,
    to_position bigint NOT NULL,
    node bigint NOT NULL,
    from_at timestamptz,
    to_at timestamptz,
    moment_node bigint,
    created_at timestamptz NOT NULL,
    created_by uuid NOT NULL,
    status text NOT NULL,
    priority smallint NOT NULL,
    due_at timestamptz,
    estimate smallint,
    deleted boolean NOT NULL,
    project_id uuid,
    PRIMARY KEY (created_position, from_position)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE INDEX ON task_list_past (workspace_id, created_position, from_position, to_position, status, deleted);
CREATE INDEX ON task_list_past (workspace_id, node, created_at, created_position, from_position, to_position, status, deleted);
CREATE INDEX ON task_list_past (workspace_id, node, priority, created_position, from_position, to_position, status, deleted);
CREATE INDEX ON task_list_past (workspace_id, node, coalesce(due_at, 'infinity'), created_position, from_position, to_position,
    status, deleted);
CREATE INDEX ON task_list_past (workspace_id, node, coalesce(due_at, '-infinity'), created_position, from_position, to_position,
    status, deleted);
CREATE INDEX ON task_list_past (workspace_id, node, coalesce(estimate, 32767::smallint), created_position, from_position,
    to_position, status, deleted);
CREATE INDEX ON task_list_past (workspace_id, node, coalesce(estimate, '-1'::smallint), created_position, from_position,
    to_position, status, deleted);
CREATE INDEX ON task_list_past (workspace_id, moment_node, created_position, from_position) WHERE moment_node IS NOT NULL;

-- When a task had a label or an assignee: term is a digest of workspace and value, the last position of what holds is the greatest
-- bigint.
CREATE TABLE task_term_spans (
    term uuid NOT NULL,
    created_position bigint NOT NULL,
    from_position bigint NOT NULL,
    to_position bigint NOT NULL,
    from_at timestamptz,
    to_at timestamptz
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE UNIQUE INDEX ON task_term_spans (term, created_position, from_position) INCLUDE (to_position);

-- What a task was found by before its texts changed.
CREATE TABLE task_text_past (
    created_position bigint NOT NULL,
    from_position bigint NOT NULL,
    to_position bigint NOT NULL,
    from_at timestamptz,
    to_at timestamptz,
    words tsvector NOT NULL,
    PRIMARY KEY (created_position, from_position)
);
CREATE INDEX ON task_text_past USING gin (words);

-- How many tasks there were of each kind from a position on: in the whole workspace, whose own id is the scope, and in each of
-- its projects.
CREATE TABLE task_counts (
    workspace_id uuid NOT NULL,
    scope uuid NOT NULL,
    position bigint NOT NULL,
    counts integer[] NOT NULL,
    PRIMARY KEY (workspace_id, scope, position)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);
