CREATE TABLE task_snapshots (
    task_id uuid NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    earliest timestamptz NOT NULL,
    document bytea NOT NULL,
    PRIMARY KEY (task_id, version)
);
