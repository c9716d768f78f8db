-- The catalogue: what instruments are known, and the state of every partition of every dataset.

CREATE TABLE md.instruments (
    instrument_id  integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id             text COLLATE "C" NOT NULL UNIQUE,   -- venue:BASE-QUOTE
    universe       text COLLATE "C" NOT NULL,
    native         text NOT NULL,                      -- the venue's own symbol
    registered_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE md.partition_status (
    dataset        text COLLATE "C" NOT NULL,
    instrument     text COLLATE "C" NOT NULL,
    date           date NOT NULL,                      -- first day of the partition's period, UTC
    status         text NOT NULL CHECK (status IN ('ok', 'degraded', 'failed', 'missing', 'pending', 'closed')),
    rows           bigint NOT NULL CHECK (rows >= 0),
    bytes          bigint NOT NULL CHECK (bytes >= 0),
    first_time     timestamptz,
    last_time      timestamptz,
    source         text,
    sha256         text,                               -- of the stored file's bytes
    score          double precision CHECK (score BETWEEN 0 AND 1),
    evidence       jsonb NOT NULL DEFAULT '{}',        -- counts, gaps, violations, why this source, why it failed
    run_id         text,
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (dataset, instrument, date)
);

CREATE INDEX partition_status_by_status ON md.partition_status (status, dataset) WHERE status IN ('failed', 'missing', 'degraded');
