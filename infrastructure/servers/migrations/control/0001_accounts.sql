-- Accounts and sessions: plain rows, deliberately not event-sourced, so that erasing a person is one DELETE.

CREATE TABLE logs (
    name text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_]{0,30}$')
);

CREATE TABLE workspaces (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    log text NOT NULL REFERENCES logs (name),
    created_at timestamptz NOT NULL,
    import_secret bytea NOT NULL DEFAULT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
);
COMMENT ON COLUMN workspaces.import_secret IS
    'The ids of imported tickets and rows are digests under it. Whoever destroys it ends their being recognised.';

CREATE TABLE users (
    id uuid PRIMARY KEY,
    email text NOT NULL,
    email_key text NOT NULL UNIQUE,
    display_name text NOT NULL,
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL,
    disabled_at timestamptz
);
COMMENT ON COLUMN users.email IS 'As typed; shown and written to.';
COMMENT ON COLUMN users.email_key IS 'NFKC-normalised and casefolded; what makes an address unique.';

-- principal_id refers to no user on purpose: principals of an imported history have no account.
CREATE TABLE members (
    workspace_id uuid NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    principal_id uuid NOT NULL,
    role text NOT NULL CHECK (role IN ('owner', 'member', 'imported')),
    display_name text NOT NULL,
    imported_as text,
    PRIMARY KEY (workspace_id, principal_id),
    UNIQUE (workspace_id, imported_as)
);
CREATE INDEX members_principal ON members (principal_id);
COMMENT ON COLUMN members.imported_as IS
    'How imported histories name the person. Its id is random: whoever destroys this row leaves nothing that tells whose it was.';

CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    workspace_id uuid NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_in xid8,
    revoke_reason text,
    user_agent text NOT NULL DEFAULT '',
    ip text NOT NULL DEFAULT ''
);
COMMENT ON COLUMN sessions.revoked_in IS
    'The revoking transaction. Watchers ask by it, because the order of times is not the order of commits.';
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_revoked_at ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX sessions_revoked_in ON sessions (revoked_in) WHERE revoked_in IS NOT NULL;

-- A trigger, so that an operator's plain UPDATE … SET revoked_at = now() is noticed by every process as well.
CREATE FUNCTION stamp_revocation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.revoked_at := clock_timestamp();
    NEW.revoked_in := pg_current_xact_id();
    RETURN NEW;
END $$;
CREATE TRIGGER stamp_revocation BEFORE UPDATE OF revoked_at ON sessions
    FOR EACH ROW WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL)
    EXECUTE FUNCTION stamp_revocation();

-- A session whose row is gone leaves its id, so that a deleted user's access tokens end like revoked ones.
CREATE TABLE ended_sessions (
    session_id uuid PRIMARY KEY,
    ended_at timestamptz NOT NULL,
    ended_in xid8 NOT NULL
);
CREATE INDEX ended_sessions_in ON ended_sessions (ended_in);

CREATE FUNCTION note_ended_sessions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- No access token lives for a day: those ids tell nobody anything any more.
    DELETE FROM taskmaster.ended_sessions WHERE ended_at < clock_timestamp() - interval '1 day';
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO taskmaster.ended_sessions
        SELECT id, clock_timestamp(), pg_current_xact_id() FROM taskmaster.sessions WHERE expires_at > now()
        ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO taskmaster.ended_sessions
        SELECT id, clock_timestamp(), pg_current_xact_id() FROM gone WHERE expires_at > now()
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note_deleted_sessions AFTER DELETE ON sessions REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION note_ended_sessions();
CREATE TRIGGER note_truncated_sessions BEFORE TRUNCATE ON sessions
    FOR EACH STATEMENT EXECUTE FUNCTION note_ended_sessions();

-- Triggers, so that a plain UPDATE or DELETE in psql ends access and removes the name as the commands do.
CREATE FUNCTION end_access_of_disabled() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE taskmaster.sessions SET revoked_at = clock_timestamp(), revoke_reason = 'user_disabled'
    WHERE user_id = NEW.id AND revoked_at IS NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER end_access_of_disabled AFTER UPDATE OF disabled_at ON users
    FOR EACH ROW WHEN (NEW.disabled_at IS NOT NULL) EXECUTE FUNCTION end_access_of_disabled();

CREATE FUNCTION remove_name_of_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE taskmaster.workspaces w SET name = 'Deleted user'
    FROM taskmaster.members m
    WHERE m.workspace_id = w.id AND m.principal_id = OLD.id AND m.role = 'owner';
    UPDATE taskmaster.members SET display_name = 'Deleted user' WHERE principal_id = OLD.id;
    RETURN NULL;
END $$;
CREATE TRIGGER remove_name_of_deleted AFTER DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION remove_name_of_deleted();

CREATE TABLE refresh_tokens (
    token_hash bytea PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    rotated_at timestamptz
);
COMMENT ON COLUMN refresh_tokens.token_hash IS 'SHA-256 of the token; the token itself is stored nowhere.';
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);
-- The database itself refuses a family with two live tokens.
CREATE UNIQUE INDEX refresh_tokens_one_live ON refresh_tokens (session_id) WHERE rotated_at IS NULL;
