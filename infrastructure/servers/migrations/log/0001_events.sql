-- The log: one schema a log, every change appended once, positions 1, 2, 3, … in the order of commits.

CREATE TABLE log (
    log_id uuid NOT NULL,
    epoch integer NOT NULL CHECK (epoch >= 1),
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);
INSERT INTO log (log_id, epoch) VALUES (gen_random_uuid(), 1);

-- A log that becomes another one, by its epoch, is told to whoever serves it.
CREATE FUNCTION tell_of_the_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY taskmaster_log;
    RETURN NULL;
END
$$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON log FOR EACH STATEMENT EXECUTE FUNCTION tell_of_the_log();
-- "log_main" is the schema of the log "main".
INSERT INTO taskmaster.logs (name) VALUES (substring(current_schema() FROM 5)) ON CONFLICT DO NOTHING;

-- The first five columns are those of the eventsourcing library's tables, so that any of its applications can read this log.
CREATE TABLE events (
    originator_id uuid NOT NULL,
    originator_version bigint NOT NULL,
    notification_id bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    effective_at timestamptz,
    workspace_id uuid NOT NULL,
    principal_id uuid NOT NULL,
    command_id uuid NOT NULL,
    correlation_id uuid NOT NULL,
    causation_id uuid,
    schema_version integer NOT NULL,
    topic text NOT NULL,
    state bytea NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (originator_id, originator_version)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.05);
CREATE UNIQUE INDEX events_notification_id ON events (notification_id);

CREATE TABLE idempotency (
    workspace_id uuid NOT NULL,
    principal_id uuid NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    receipt text NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (principal_id, key, workspace_id)
);
CREATE INDEX idempotency_recorded_at ON idempotency (recorded_at);

-- For people with psql: the payloads as jsonb.
CREATE VIEW readable_events AS
SELECT notification_id AS position, originator_id AS stream_id, originator_version AS version, recorded_at, effective_at,
       workspace_id, principal_id, command_id, correlation_id, causation_id, topic, schema_version,
       convert_from(state, 'UTF8')::jsonb AS payload, encode(hash, 'hex') AS hash
FROM events;

-- Appends many requests ("appends") in the caller's transaction; one call is meant to be one transaction.
--
-- Arrays starting with a_ have one element an append, those with e_ one element an event, in the order of the appends.
-- An append takes all its events or none. Outcomes, one an append: 0 appended, 1 conflict (a stream was not at the expected
-- version), 2 replayed (the idempotency key was used for the same request before, or these very events are already
-- stored), 3 key mismatch (the key was used for another request). No stream and no idempotency key may stand in two
-- appends of one call; the unique indexes refuse the whole call otherwise.
--
-- The lock is what makes positions true: they are given in the order of commits, so a reader who has seen position n
-- never finds a new event at or below n later. It is taken here, on the server, so no client round trip is spent under it.
--
-- The hash links an event to its stream's chain. Every field has a fixed width or is preceded by its length, so that no two
-- different events have the same encoding. infrastructure/log/hash_chain.py is the second, independent implementation,
-- which `taskmaster verify` uses.
--
-- Written for few PL/pgSQL expressions: each costs some microseconds to set up once a transaction, which is what one single
-- append waits for.
CREATE FUNCTION append_events(
    a_events integer[], a_workspace uuid[], a_principal uuid[], a_command uuid[], a_correlation uuid[],
    a_causation uuid[], a_key text[], a_request_hash bytea[], a_receipt text[],
    e_append integer[], e_stream uuid[], e_version bigint[], e_effective timestamptz[], e_schema integer[], e_topic text[],
    e_state bytea[],
    OUT outcomes integer[], OUT first_positions bigint[], OUT receipts text[], OUT recorded timestamptz
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    identity record;
    start bigint;
    head bigint;
    expected bigint;
    link bytea;
    stored record;
    next_event integer := 1;
    event integer;
    accepted integer[] := '{}';
    accepted_hash bytea[] := '{}';
    keyed boolean := false;
BEGIN
    SELECT '\x00746d2d6c6561662d7631'::bytea || uuid_send(log_id) || int4send(epoch) AS bytes,
           set_config('synchronous_commit', 'on', true),
           pg_advisory_xact_lock(hashtextextended('taskmaster ' || current_schema(), 0))
    INTO identity FROM log;
    -- A statement of its own: its snapshot must be taken under the lock. A clock that was set back must not make later
    -- events look earlier.
    SELECT h.notification_id, h.notification_id, greatest(clock_timestamp(), h.recorded_at) INTO start, head, recorded
    FROM ((SELECT notification_id, recorded_at FROM events ORDER BY notification_id DESC LIMIT 1)
          UNION ALL SELECT 0, NULL LIMIT 1) h;
    outcomes := array_fill(0, ARRAY[cardinality(a_events)]);
    first_positions := array_fill(NULL::bigint, ARRAY[cardinality(a_events)]);
    FOR a IN 1 .. cardinality(a_events) LOOP
        event := next_event;
        next_event := event + a_events[a];
        IF a_key[a] IS NOT NULL THEN
            SELECT request_hash, receipt INTO stored FROM idempotency
            WHERE principal_id = a_principal[a] AND key = a_key[a] AND workspace_id = a_workspace[a];
            IF FOUND THEN
                receipts := coalesce(receipts, array_fill(NULL::text, ARRAY[cardinality(a_events)]));
                outcomes[a] := CASE WHEN stored.request_hash = a_request_hash[a] THEN 2 ELSE 3 END;
                receipts[a] := stored.receipt;
                CONTINUE;
            END IF;
            keyed := true;
        END IF;
        first_positions[a] := head + 1;
        WHILE event < next_event LOOP
            IF e_stream[event] IS DISTINCT FROM e_stream[event - 1] OR e_append[event] IS DISTINCT FROM e_append[event - 1] THEN
                SELECT h.expected, h.hash INTO expected, link
                FROM ((SELECT originator_version + 1, hash FROM events
                       WHERE originator_id = e_stream[event] ORDER BY originator_version DESC LIMIT 1)
                      UNION ALL
                      SELECT greatest(0, least(e_version[event], 1)), '\x0000000000000000000000000000000000000000000000000000000000000000'
                      LIMIT 1) h(expected, hash);
            END IF;
            EXIT WHEN e_version[event] <> expected;
            head := head + 1;
            link := sha256(
                identity.bytes || int8send(head) || uuid_send(e_stream[event]) || int8send(expected) || link
                || int8send((extract(epoch FROM recorded) * 1000000)::bigint)
                || coalesce('\x01'::bytea || int8send((extract(epoch FROM e_effective[event]) * 1000000)::bigint), '\x00')
                || uuid_send(a_workspace[a]) || uuid_send(a_principal[a]) || uuid_send(a_command[a])
                || uuid_send(a_correlation[a]) || coalesce('\x01'::bytea || uuid_send(a_causation[a]), '\x00')
                || int4send(e_schema[event]) || int4send(octet_length(e_topic[event]))
                || convert_to(e_topic[event], 'UTF8') || sha256(e_state[event]));
            accepted := accepted || event;
            accepted_hash := accepted_hash || link;
            expected := expected + 1;
            event := event + 1;
        END LOOP;
        IF event < next_event THEN
            head := first_positions[a] - 1;
            accepted := accepted[1 : head - start];
            accepted_hash := accepted_hash[1 : head - start];
            -- A resent append whose first answer was lost finds its own events stored: that is no conflict.
            event := next_event - a_events[a];
            SELECT (SELECT notification_id FROM events
                    WHERE originator_id = e_stream[event] AND originator_version = e_version[event]
                      AND command_id = a_command[a]) INTO stored;
            first_positions[a] := stored.notification_id;
            outcomes[a] := CASE WHEN stored.notification_id IS NULL THEN 1 ELSE 2 END;
        END IF;
    END LOOP;
    INSERT INTO events
    SELECT e_stream[n.event], e_version[n.event], start + n.ord, recorded, e_effective[n.event], a_workspace[e_append[n.event]],
           a_principal[e_append[n.event]], a_command[e_append[n.event]], a_correlation[e_append[n.event]],
           a_causation[e_append[n.event]], e_schema[n.event], e_topic[n.event], e_state[n.event], n.hash
    FROM unnest(accepted, accepted_hash) WITH ORDINALITY AS n(event, hash, ord);
    IF keyed THEN
        WITH written AS (
            INSERT INTO idempotency
            SELECT t.workspace, t.principal, t.key, t.request_hash, t.receipt || (t.first + t.events - 1) || '}', recorded
            FROM unnest(a_workspace, a_principal, a_key, a_request_hash, a_receipt, first_positions, a_events, outcomes)
                AS t(workspace, principal, key, request_hash, receipt, first, events, outcome)
            WHERE t.key IS NOT NULL AND t.outcome = 0
        ) SELECT array_agg(CASE WHEN t.key IS NOT NULL AND t.outcome = 0
                                THEN t.receipt || (t.first + t.events - 1) || '}' ELSE t.stored END ORDER BY t.ord) INTO receipts
        FROM unnest(a_key, outcomes, a_receipt, receipts, first_positions, a_events)
            WITH ORDINALITY AS t(key, outcome, receipt, stored, first, events, ord);
    END IF;
END
$$;
