-- Work that outlasts a request: exports and backfills. Whoever works on a job says so every few seconds; a job of which
-- nothing is heard for a while is free again.

CREATE TABLE md.jobs (
    id            text COLLATE "C" PRIMARY KEY,
    kind          text COLLATE "C" NOT NULL CHECK (kind IN ('export', 'backfill')),
    owner         text COLLATE "C" NOT NULL,           -- principal that asked
    request       jsonb NOT NULL,
    state         text NOT NULL DEFAULT 'queued'
                  CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled', 'expired')),
    done          bigint NOT NULL DEFAULT 0,           -- of total, in what the kind counts
    total         bigint NOT NULL DEFAULT 0,
    detail        jsonb NOT NULL DEFAULT '{}',         -- what the kind tells: files, runs, problems
    error         text,
    is_unwanted   boolean NOT NULL DEFAULT false,      -- somebody asked to cancel it
    attempts      smallint NOT NULL DEFAULT 0,         -- since it last got on
    worker        text,                                -- process that has it
    seen_at       timestamptz,                         -- when that process, or a failed attempt, was last heard of
    created_at    timestamptz NOT NULL DEFAULT now(),
    started_at    timestamptz,
    finished_at   timestamptz,
    expires_at    timestamptz                          -- its files are removed then
);
CREATE INDEX jobs_to_do ON md.jobs (created_at) WHERE state IN ('queued', 'running');
CREATE INDEX jobs_by_owner ON md.jobs (kind, owner, created_at);
COMMENT ON TABLE md.jobs IS 'Exports and backfills that were asked for by the API';
