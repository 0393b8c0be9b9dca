-- Where each read model stands, and what was set aside of it. Of each set of layouts there is one such schema.

CREATE TABLE checkpoints (
    projection text PRIMARY KEY,
    layout text NOT NULL,
    log_id uuid NOT NULL,
    epoch integer NOT NULL,
    -- How far it has come. NULL: its place stands beside its data, elsewhere than in Postgres.
    position bigint DEFAULT 0,
    leaf_hash bytea,
    -- Which build of the whole read model this is.
    generation integer NOT NULL DEFAULT 1,
    -- How often events that had been set aside were applied later: whoever remembers what is set aside looks again.
    replays integer NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    single_until bigint NOT NULL DEFAULT 0,
    held text,
    -- Where it stood when attempts and held were noted; elsewhere they count no more.
    noted_at bigint NOT NULL DEFAULT 0,
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
