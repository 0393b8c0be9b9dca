CREATE TABLE task_history (
    position bigint PRIMARY KEY,
    workspace_id uuid NOT NULL,
    task_id uuid NOT NULL,
    version bigint NOT NULL,
    entry bytea NOT NULL
);
CREATE INDEX ON task_history (workspace_id, position);
CREATE INDEX ON task_history (task_id, version);
