CREATE TABLE project_list (
    project_id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL,
    created_position bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    archived boolean NOT NULL,
    deleted boolean NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    -- Since when key, archived and deleted are as they are. Of imported projects also by when that had happened.
    since bigint NOT NULL,
    since_at timestamptz,
    summary bytea NOT NULL,
    detail bytea NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX ON project_list (workspace_id, created_position, archived, deleted);
CREATE INDEX ON project_list (workspace_id, key, created_position, archived, deleted);

-- What lists were chosen and sorted by before it changed: closed ranges, rows are only ever added. See task/list.sql.
CREATE TABLE project_list_past (
    workspace_id uuid NOT NULL,
    project_id uuid NOT NULL,
    created_position bigint NOT NULL,
    from_position bigint NOT NULL,
    to_position bigint NOT NULL,
    node bigint NOT NULL,
    from_at timestamptz,
    to_at timestamptz,
    moment_node bigint,
    key text COLLATE "C" NOT NULL,
    archived boolean NOT NULL,
    deleted boolean NOT NULL,
    PRIMARY KEY (created_position, from_position)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE INDEX ON project_list_past (workspace_id, node, from_position, to_position);
CREATE INDEX ON project_list_past (workspace_id, moment_node, created_position, from_position) WHERE moment_node IS NOT NULL;
