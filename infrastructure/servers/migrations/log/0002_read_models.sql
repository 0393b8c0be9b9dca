-- Read models and their checkpoints. Everything here is derived from the events and may be rebuilt from them at any time.

CREATE TABLE checkpoints (
    projection text PRIMARY KEY,
    log_id uuid NOT NULL,
    epoch integer NOT NULL,
    position bigint NOT NULL DEFAULT 0,
    leaf_hash bytea,
    generation integer NOT NULL DEFAULT 1,
    attempts integer NOT NULL DEFAULT 0,
    single_until bigint NOT NULL DEFAULT 0,
    held text,
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

CREATE TABLE parked (
    projection text NOT NULL,
    position bigint NOT NULL,
    stream_id uuid NOT NULL,
    version bigint NOT NULL,
    error text NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (projection, position)
);

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

CREATE TABLE task_history (
    position bigint PRIMARY KEY,
    workspace_id uuid NOT NULL,
    task_id uuid NOT NULL,
    version bigint NOT NULL,
    entry bytea NOT NULL
);
CREATE INDEX ON task_history (workspace_id, position);
CREATE INDEX ON task_history (task_id, version);

CREATE TABLE task_snapshots (
    task_id uuid NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    earliest timestamptz NOT NULL,
    layout integer NOT NULL,
    document bytea NOT NULL,
    PRIMARY KEY (task_id, version)
);

CREATE TABLE flow_daily (
    workspace_id uuid NOT NULL,
    day date NOT NULL,
    created integer NOT NULL,
    started integer NOT NULL,
    completed integer NOT NULL,
    completion_events integer NOT NULL,
    reopened integer NOT NULL,
    cancelled integer NOT NULL,
    deleted integer NOT NULL,
    open_change integer NOT NULL,
    in_progress_change integer NOT NULL,
    PRIMARY KEY (workspace_id, day)
) WITH (fillfactor = 50);

CREATE TABLE flow_completions (
    task_id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL,
    completed_at timestamptz NOT NULL,
    lead_seconds double precision NOT NULL,
    cycle_seconds double precision
);
CREATE INDEX ON flow_completions (workspace_id, completed_at);

INSERT INTO checkpoints (projection, log_id, epoch)
SELECT projection, log_id, epoch
FROM log, unnest(ARRAY['task_list', 'task_history', 'task_snapshots', 'flow', 'hot_tasks']) AS projection;
