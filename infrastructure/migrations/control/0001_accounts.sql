-- Accounts and sessions: plain rows, deliberately not event-sourced, so that erasing a person is one DELETE.

CREATE TABLE logs (
    name text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_]{0,30}$')
);

CREATE TABLE workspaces (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    log text NOT NULL REFERENCES logs (name),
    created_at timestamptz NOT NULL
);

CREATE TABLE users (
    id uuid PRIMARY KEY,
    email text NOT NULL,
    email_key text NOT NULL UNIQUE,
    display_name text NOT NULL,
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL
);
COMMENT ON COLUMN users.email IS 'As typed; shown and written to.';
COMMENT ON COLUMN users.email_key IS 'NFKC-normalised and casefolded; what makes an address unique.';

-- principal_id refers to no user on purpose: principals of an imported history have no account.
CREATE TABLE members (
    workspace_id uuid NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    principal_id uuid NOT NULL,
    role text NOT NULL CHECK (role IN ('owner', 'member', 'imported')),
    display_name text NOT NULL,
    PRIMARY KEY (workspace_id, principal_id)
);
CREATE INDEX members_principal ON members (principal_id);

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
