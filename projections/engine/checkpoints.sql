-- Where each read model stands, and what was set aside of it. Of each set of layouts there is one such schema.

CREATE TABLE checkpoints (
    projection text PRIMARY KEY,
    layout text NOT NULL,
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
