-- Of a whole workspace, whose own id is the scope, and of each of its projects.
CREATE TABLE flow_daily (
    workspace_id uuid NOT NULL,
    scope uuid NOT NULL,
    day date NOT NULL,
    created integer NOT NULL,
    started integer NOT NULL,
    completed integer NOT NULL,
    completion_events integer NOT NULL,
    reopened integer NOT NULL,
    cancelled integer NOT NULL,
    deleted integer NOT NULL,
    open_change integer NOT NULL,
    in_progress_change integer NOT NULL,
    PRIMARY KEY (workspace_id, scope, day)
) WITH (fillfactor = 50);

CREATE TABLE flow_completions (
    task_id uuid PRIMARY KEY,
    workspace_id uuid NOT NULL,
    project_id uuid,
    completed_at timestamptz NOT NULL,
    lead_seconds double precision NOT NULL,
    cycle_seconds double precision
);
CREATE INDEX ON flow_completions (workspace_id, completed_at);
CREATE INDEX ON flow_completions (workspace_id, project_id, completed_at);
