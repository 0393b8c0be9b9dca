CREATE TABLE task_snapshots (
    task_id uuid NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    known_by timestamptz NOT NULL,
    -- Whether the payload of its event had been erased when it was made.
    erased boolean NOT NULL,
    document bytea NOT NULL,
    PRIMARY KEY (task_id, version)
);
