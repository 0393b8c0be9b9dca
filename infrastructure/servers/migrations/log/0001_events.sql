-- The log: one schema a log, every change appended once, positions 1, 2, 3, … in the order of commits.

CREATE TABLE log (
    log_id uuid NOT NULL,
    epoch integer NOT NULL CHECK (epoch >= 1),
    tag_scheme integer NOT NULL DEFAULT 1,
    request_secret bytea NOT NULL DEFAULT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()),
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);
COMMENT ON COLUMN log.request_secret IS
    'What the digests of requests with an Idempotency-Key are made with: without it nobody can try out what a request said.';
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
--
-- The hash covers "commitment", the SHA-256 of salt and state, and not the state itself: with "state" and "salt" set to NULL a
-- payload is gone, what is left tells nothing about it, and every hash still fits. "authority" is the position of the newest
-- event that permitted this one, 0 for none; "number" is the one that the log gave it in its scope.
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
    epoch integer NOT NULL,
    authority bigint NOT NULL,
    scope uuid,
    number bigint,
    schema_version integer NOT NULL,
    topic text NOT NULL,
    state bytea,
    salt bytea,
    commitment bytea NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (originator_id, originator_version)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.05);
CREATE UNIQUE INDEX events_notification_id ON events (notification_id);

-- The boundaries of events: which of them a decision may rest on. Derived from the events by domain/tags.py (`tags_of`),
-- never hashed; `taskmaster verify` derives them again and compares. A tag is the first sixteen bytes of the SHA-256 of its text.
CREATE TABLE event_tags (
    tag uuid NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (tag, position)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.05);

-- The numbers that the log has given: 1, 2, 3, … in each scope (a project, for example), never twice and without gaps. Derived as
-- well, from the events' own; the key refuses a number twice even where the lock was bypassed.
CREATE TABLE event_numbers (
    scope uuid NOT NULL,
    number bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (scope, number)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.05);

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
       workspace_id, principal_id, command_id, correlation_id, causation_id, epoch, authority, scope, number, topic, schema_version,
       convert_from(state, 'UTF8')::jsonb AS payload, encode(hash, 'hex') AS hash
FROM events;

-- Appends many requests ("appends") in the caller's transaction; one call is meant to be one transaction.
--
-- Arrays starting with a_ have one element an append, those with e_ one element an event, in the order of the appends.
-- An append takes all its events or none. Outcomes, one an append: 0 appended, 1 conflict (a stream was not at the expected
-- version), 2 replayed (the idempotency key was used for the same request before, or these very events are already
-- stored), 3 key mismatch (the key was used for another request), 4 condition violated. No idempotency key may
-- stand in two appends of one call, and no stream that is not said to come again; the unique indexes refuse the whole call otherwise.
--
-- e_state holds sixteen random bytes, the salt, before each stored state. e_scope names the scope that numbers an event, NULL for
-- none, and may be empty where no event is numbered.
--
-- Tags t_tag of the events t_event, which count through the call. Conditions c_…: "the last event with the tag c_tag is at the
-- position c_at, 0: there is none". They are about what others appended: an append's own tags do not matter to its conditions,
-- those of the appends before it in the call do. "scheme" is the version of the derivation by which the caller made its tags;
-- where that is not the log's, the whole call is refused.
--
-- "follows" are the numbers of those appends that were decided on what the append before them in the call leads to; where no append
-- of the call has a condition they do not matter. Together with that one they are a chain: its own tags do not matter to its
-- conditions, and where one of them is not appended now, whatever the reason, those behind it are refused as well.
--
-- "again" is empty, or has an element an event: the number of the last event of the same stream in the appends before its own, 0
-- where there is none. Such an append goes on from there. It is refused where anything before it in the call is not appended now.
--
-- The lock is what makes positions true: they are given in the order of commits, so a reader who has seen position n
-- never finds a new event at or below n later. It is taken here, on the server, so no client round trip is spent under it.
-- Conditions are looked at and numbers are given under it as well.
--
-- The hash links an event to its stream's chain. Every field has a fixed width or is preceded by its length, so that no two
-- different events have the same encoding. infrastructure/log/hash_chain.py is the second, independent implementation,
-- which `taskmaster verify` uses.
--
-- "leaves" are the hashes of the events that were stored, in order, the first of them at position start + 1; "numbers" has an
-- element an event where any is numbered. A receipt is there for each append that was found stored already; who appended can
-- complete one as it is done here, from the position, the hash and the number.
--
-- Written for few PL/pgSQL expressions, none of them with a query inside: each costs some microseconds to set up once a
-- transaction, which is what one single append waits for. Queries stand before the loop, one for all appends of the call: in it
-- each cost every append another start of the executor, a quarter of what an append took in all. Planned anew at every call, the queries over arrays cost a third more.
CREATE FUNCTION append_events(
    a_events integer[], a_workspace uuid[], a_principal uuid[], a_command uuid[], a_correlation uuid[],
    a_causation uuid[], a_authority bigint[], a_key text[], a_request_hash bytea[], a_receipt text[],
    e_append integer[], e_stream uuid[], e_version bigint[], e_effective timestamptz[], e_schema integer[], e_topic text[],
    e_state bytea[], e_scope uuid[],
    t_event integer[], t_tag uuid[], c_append integer[], c_tag uuid[], c_at bigint[], scheme integer, follows integer[] DEFAULT '{}',
    again integer[] DEFAULT '{}',
    OUT outcomes integer[], OUT first_positions bigint[], OUT receipts text[], OUT recorded timestamptz,
    OUT start bigint, OUT leaves bytea[], OUT numbers bigint[]
)
LANGUAGE plpgsql SET search_path FROM CURRENT SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    identity record;
    head bigint;
    expected bigint;
    nexts bigint[];
    links bytea[];
    commitments bytea[];
    link bytea;
    stored record;
    next_event integer := 1;
    event integer;
    accepted integer[] := '{}';
    refused integer;
    keyed boolean := array_remove(a_key, NULL) <> '{}';
    conditional boolean := cardinality(c_tag) > 0;
    numbered boolean := cardinality(e_scope) > 0;
    violated integer[];
    rivals integer[];
    taken uuid[] := '{}';
    chained uuid[] := '{}';
    scopes uuid[];
    newest bigint[];
    before bigint[];
    given bigint[];
    slot integer;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true), pg_advisory_xact_lock(hashtextextended('taskmaster ' || current_schema(), 0));
    -- A statement of its own, as all that follow: its snapshot must be taken under the lock. A clock that was set back must not
    -- make later events look earlier.
    SELECT '\x00746d2d6c6561662d7632'::bytea || uuid_send(l.log_id) || int4send(l.epoch) AS bytes, l.epoch, l.tag_scheme,
           h.notification_id, greatest(clock_timestamp(), h.recorded_at) AS recorded
    INTO identity
    FROM log l CROSS JOIN LATERAL ((SELECT notification_id, recorded_at FROM events ORDER BY notification_id DESC LIMIT 1)
                                   UNION ALL SELECT 0, NULL LIMIT 1) h;
    IF identity.tag_scheme <> scheme THEN
        RAISE EXCEPTION 'the log derives tags by scheme %, whoever appends by scheme %', identity.tag_scheme, scheme
            USING ERRCODE = 'TM001';
    END IF;
    start := identity.notification_id;
    head := start;
    recorded := identity.recorded;
    leaves := '{}';
    IF keyed THEN
        SELECT array_agg(CASE WHEN i.request_hash IS NULL THEN 0 WHEN i.request_hash = k.request_hash THEN 2 ELSE 3 END ORDER BY k.ord),
               array_agg(i.receipt ORDER BY k.ord)
        INTO outcomes, receipts
        FROM unnest(a_principal, a_key, a_workspace, a_request_hash)
            WITH ORDINALITY AS k(principal, key, workspace, request_hash, ord)
        LEFT JOIN LATERAL (SELECT request_hash, receipt FROM idempotency
                           WHERE principal_id = k.principal AND key = k.key AND workspace_id = k.workspace LIMIT 1) i ON true;
    ELSE
        outcomes := array_fill(0, ARRAY[cardinality(a_events)]);
    END IF;
    first_positions := array_fill(NULL::bigint, ARRAY[cardinality(a_events)]);
    IF conditional THEN
        SELECT coalesce(array_agg(c.append), '{}') INTO violated
        FROM unnest(c_append, c_tag, c_at) AS c(append, tag, at)
        WHERE c.at <> coalesce((SELECT t.position FROM event_tags t WHERE t.tag = c.tag ORDER BY t.position DESC LIMIT 1), 0);
        IF c_tag && t_tag THEN
            -- Those whose boundaries an earlier append of the call touches, should that be accepted.
            SELECT array_agg(c.append) INTO rivals
            FROM unnest(c_append, c_tag) AS c(append, tag) JOIN unnest(t_event, t_tag) AS t(event, tag) ON t.tag = c.tag
            WHERE e_append[t.event] < c.append;
        END IF;
    END IF;
    IF numbered THEN
        SELECT array_agg(s.scope),
               array_agg(coalesce((SELECT n.number FROM event_numbers n WHERE n.scope = s.scope ORDER BY n.number DESC LIMIT 1), 0))
        INTO scopes, newest
        FROM (SELECT DISTINCT e.scope FROM unnest(e_scope) AS e(scope) WHERE e.scope IS NOT NULL) s;
        numbers := array_fill(NULL::bigint, ARRAY[cardinality(e_stream)]);
        given := array_fill(NULL::bigint, ARRAY[cardinality(a_events)]);
    END IF;
    -- What each stream would go on from, of use where the event is its append's first of that stream.
    SELECT array_agg(coalesce(h.version, greatest(0, least(e.version, 1))) ORDER BY e.ord),
           array_agg(coalesce(h.hash, '\x0000000000000000000000000000000000000000000000000000000000000000') ORDER BY e.ord),
           array_agg(sha256(e.state) ORDER BY e.ord)
    INTO nexts, links, commitments
    FROM unnest(e_stream, e_version, e_state) WITH ORDINALITY AS e(stream, version, state, ord)
    LEFT JOIN LATERAL (SELECT originator_version + 1 AS version, hash FROM events WHERE originator_id = e.stream
                       ORDER BY originator_version DESC LIMIT 1) h ON true;
    FOR a IN 1 .. cardinality(a_events) LOOP
        event := next_event;
        next_event := event + a_events[a];
        IF keyed AND outcomes[a] <> 0 THEN
            CONTINUE;
        END IF;
        first_positions[a] := head + 1;
        refused := CASE WHEN conditional AND (a = ANY (violated) OR a = ANY (follows) AND outcomes[a - 1] <> 0) THEN 4 END;
        IF rivals IS NOT NULL THEN
            IF a <> ALL (follows) THEN
                taken := taken || chained;
                chained := '{}';
            END IF;
            IF a = ANY (rivals) AND refused IS NULL THEN
                SELECT 4 INTO refused FROM unnest(c_append, c_tag) AS c(append, tag) WHERE c.append = a AND c.tag = ANY (taken) LIMIT 1;
            END IF;
        END IF;
        IF numbered THEN
            before := newest;
        END IF;
        WHILE event < next_event AND refused IS NULL LOOP
            IF e_stream[event] IS DISTINCT FROM e_stream[event - 1] OR e_append[event] IS DISTINCT FROM e_append[event - 1] THEN
                expected := nexts[event];
                link := links[event];
                IF again[event] > 0 THEN
                    IF head - start < event - 1 OR e_stream[again[event]] <> e_stream[event] THEN
                        refused := 1;
                        EXIT;
                    END IF;
                    expected := e_version[again[event]] + 1;
                    link := leaves[again[event]];
                END IF;
            END IF;
            IF e_version[event] <> expected THEN
                refused := 1;
                EXIT;
            END IF;
            head := head + 1;
            IF numbered AND e_scope[event] IS NOT NULL THEN
                slot := array_position(scopes, e_scope[event]);
                newest[slot] := newest[slot] + 1;
                numbers[event] := newest[slot];
                given[a] := newest[slot];
            END IF;
            link := sha256(
                identity.bytes || int8send(head) || uuid_send(e_stream[event]) || int8send(expected) || link
                || int8send((extract(epoch FROM recorded) * 1000000)::bigint)
                || coalesce('\x01'::bytea || int8send((extract(epoch FROM e_effective[event]) * 1000000)::bigint), '\x00')
                || uuid_send(a_workspace[a]) || uuid_send(a_principal[a]) || uuid_send(a_command[a])
                || uuid_send(a_correlation[a]) || coalesce('\x01'::bytea || uuid_send(a_causation[a]), '\x00')
                || int8send(a_authority[a]) || coalesce('\x01'::bytea || uuid_send(e_scope[event]) || int8send(numbers[event]), '\x00')
                || int4send(e_schema[event]) || int4send(octet_length(e_topic[event]))
                || convert_to(e_topic[event], 'UTF8') || commitments[event]);
            accepted := accepted || event;
            leaves := leaves || link;
            expected := expected + 1;
            event := event + 1;
        END LOOP;
        IF refused IS NOT NULL THEN
            head := first_positions[a] - 1;
            accepted := accepted[1 : head - start];
            leaves := leaves[1 : head - start];
            event := next_event - a_events[a];
            IF numbered THEN
                newest := before;
                given[a] := NULL;
                FOR undone IN event .. next_event - 1 LOOP
                    numbers[undone] := NULL;
                END LOOP;
            END IF;
            -- A resent append whose first answer was lost finds its own events stored: that is no refusal, though neither its
            -- versions nor its conditions can hold any more. Its events stand one behind the other.
            SELECT f.position, (SELECT e.number FROM events e WHERE e.notification_id BETWEEN f.position AND f.position + a_events[a] - 1
                                AND e.number IS NOT NULL ORDER BY e.notification_id DESC LIMIT 1) AS number, l.hash
            INTO stored
            FROM (SELECT notification_id AS position FROM events WHERE originator_id = e_stream[event]
                  AND originator_version = e_version[event] AND command_id = a_command[a] AND a_events[a] > 0) f
            JOIN events l ON l.notification_id = f.position + a_events[a] - 1;
            IF FOUND THEN
                receipts := coalesce(receipts, array_fill(NULL::text, ARRAY[cardinality(a_events)]));
                outcomes[a] := 2;
                first_positions[a] := stored.position;
                receipts[a] := a_receipt[a] || coalesce(',"number":' || stored.number, '') || ',"hash":"' || encode(stored.hash, 'hex')
                               || '","position":' || (stored.position + a_events[a] - 1) || '}';
            ELSE
                outcomes[a] := refused;
                first_positions[a] := NULL;
            END IF;
        ELSIF rivals IS NOT NULL THEN
            SELECT chained || coalesce(array_agg(t.tag), '{}') INTO chained
            FROM unnest(t_event, t_tag) AS t(event, tag) WHERE e_append[t.event] = a;
        END IF;
    END LOOP;
    INSERT INTO events (originator_id, originator_version, notification_id, recorded_at, effective_at, workspace_id, principal_id,
                        command_id, correlation_id, causation_id, epoch, authority, scope, number, schema_version, topic,
                        state, salt, commitment, hash)
    SELECT e_stream[n.event], e_version[n.event], start + n.ord, recorded, e_effective[n.event], a_workspace[e_append[n.event]],
           a_principal[e_append[n.event]], a_command[e_append[n.event]], a_correlation[e_append[n.event]],
           a_causation[e_append[n.event]], identity.epoch, a_authority[e_append[n.event]], e_scope[n.event], numbers[n.event],
           e_schema[n.event], e_topic[n.event], substring(e_state[n.event] FROM 17), substring(e_state[n.event] FROM 1 FOR 16),
           commitments[n.event], n.hash
    FROM unnest(accepted, leaves) WITH ORDINALITY AS n(event, hash, ord);
    IF numbered THEN
        INSERT INTO event_numbers (scope, number, position)
        SELECT e_scope[n.event], numbers[n.event], start + n.ord
        FROM unnest(accepted) WITH ORDINALITY AS n(event, ord) WHERE e_scope[n.event] IS NOT NULL;
    END IF;
    IF cardinality(t_tag) > 0 THEN
        IF cardinality(accepted) = cardinality(e_stream) THEN
            INSERT INTO event_tags (tag, position) SELECT t.tag, start + t.event FROM unnest(t_event, t_tag) AS t(event, tag);
        ELSE
            INSERT INTO event_tags (tag, position)
            SELECT t.tag, start + n.ord
            FROM unnest(t_event, t_tag) AS t(event, tag) JOIN unnest(accepted) WITH ORDINALITY AS n(event, ord) ON n.event = t.event;
        END IF;
    END IF;
    IF keyed THEN
        INSERT INTO idempotency (workspace_id, principal_id, key, request_hash, receipt, recorded_at)
        SELECT a_workspace[r.ord], a_principal[r.ord], r.key, a_request_hash[r.ord],
               r.receipt || coalesce(',"number":' || given[r.ord], '')
               || CASE WHEN r.events > 0 THEN ',"hash":"' || encode(leaves[r.first + r.events - 1 - start], 'hex') || '"' ELSE '' END
               || ',"position":' || (r.first + r.events - 1) || '}', recorded
        FROM unnest(a_key, outcomes, a_receipt, first_positions, a_events)
            WITH ORDINALITY AS r(key, outcome, receipt, first, events, ord)
        WHERE r.key IS NOT NULL AND r.outcome = 0;
    END IF;
END
$$;
