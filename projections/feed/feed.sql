CREATE TABLE feed (
    position bigint PRIMARY KEY,
    workspace_id uuid NOT NULL,
    -- 1, 2, 3, … in the workspace, without gaps.
    ordinal bigint NOT NULL,
    aggregate text NOT NULL,
    stream_id uuid NOT NULL,
    version bigint NOT NULL,
    -- Where the stream belonged before the event and after it, such as a task to its project; NULL: nowhere.
    scope_before uuid,
    scope_after uuid,
    entry bytea NOT NULL,
    -- What those are sent whom the stream left with the event.
    leaving bytea
);
CREATE INDEX ON feed (workspace_id, position);
CREATE INDEX ON feed (stream_id, version);
CREATE INDEX ON feed (scope_after, position) WHERE scope_after IS NOT NULL;
CREATE INDEX ON feed (scope_before, position) WHERE leaving IS NOT NULL;
