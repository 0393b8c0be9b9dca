CREATE TABLE task_list (
    task_id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL,
    created_position bigint NOT NULL,
    created_at timestamptz NOT NULL,
    created_by uuid NOT NULL,
    status text NOT NULL,
    priority smallint NOT NULL,
    due_at timestamptz,
    deleted boolean NOT NULL,
    terms text[] NOT NULL,
    words tsvector NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    summary bytea NOT NULL,
    detail bytea NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX ON task_list (workspace_id, created_position);
CREATE INDEX ON task_list (workspace_id, status, created_position);
CREATE INDEX ON task_list (workspace_id, created_by, created_position);
-- Those of an order end with what most lists are filtered by: what is not wanted is passed over without a look at its row.
CREATE INDEX ON task_list (workspace_id, created_at, created_position, status, deleted);
CREATE INDEX ON task_list (workspace_id, priority, created_position, status, deleted);
-- Tasks without a due date come last in either direction, so each direction has an index of its own.
CREATE INDEX ON task_list (workspace_id, coalesce(due_at, 'infinity'), created_position, status, deleted);
CREATE INDEX ON task_list (workspace_id, coalesce(due_at, '-infinity'), created_position, status, deleted);
CREATE INDEX ON task_list (workspace_id, created_position) WHERE deleted;
CREATE INDEX ON task_list USING gin (terms);
CREATE INDEX ON task_list USING gin (words);
