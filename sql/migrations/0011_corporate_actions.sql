-- Splits and dividends. A row is never changed: the newest of a date and kind counts, so that the past can be asked as
-- it was known.

CREATE TABLE md.corporate_actions (
    instrument text COLLATE "C" NOT NULL REFERENCES md.instruments (id),
    ex_date    date NOT NULL,
    kind       text COLLATE "C" NOT NULL CHECK (kind IN ('split', 'dividend')),
    value      double precision CHECK (value > 0 AND value < 'infinity'),
    known_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (instrument, ex_date, kind, known_at)
);

COMMENT ON TABLE md.corporate_actions IS 'Splits and dividends of instruments, each state of them';
COMMENT ON COLUMN md.corporate_actions.instrument IS 'Canonical id';
COMMENT ON COLUMN md.corporate_actions.ex_date IS 'First day, UTC, on which the share is traded without it';
COMMENT ON COLUMN md.corporate_actions.kind IS 'split or dividend';
COMMENT ON COLUMN md.corporate_actions.value IS 'Split: new shares for an old one; dividend: cash for a share, currency of its price; null: withdrawn';
COMMENT ON COLUMN md.corporate_actions.known_at IS 'Since when this is known here, UTC';
