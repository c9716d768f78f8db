-- The live store: what feeds said, as it was received. 0004 makes these tables hypertables, or native partitions.
--
-- Times are timestamptz (µs) with the nanoseconds within that µs beside them, so that the venue's and our own clock are
-- kept to the last digit. Instruments and sources are small integers without foreign keys: a check of every row would
-- cost more than the row, and the one writer registers both before it writes. Trades and bars have keys, so that what
-- comes twice is stored once; quotes, books, notices and rejects have no identity of their own: they are stored exactly
-- once because their place in the spool is committed with them (spool_progress).

COMMENT ON TABLE md.migrations IS 'What of sql/migrations was applied';
COMMENT ON COLUMN md.migrations.number IS 'Number of the file';
COMMENT ON COLUMN md.migrations.name IS 'Name of the file';
COMMENT ON COLUMN md.migrations.variant IS 'plain or timescale: decided at the first one, for good';
COMMENT ON COLUMN md.migrations.sha256 IS 'Of the text that was applied, with Unix line ends';
COMMENT ON COLUMN md.migrations.applied_at IS 'When, UTC';
COMMENT ON TABLE md.instruments IS 'Everything that is known to trade';
COMMENT ON COLUMN md.instruments.instrument_id IS 'Number that rows carry';
COMMENT ON COLUMN md.instruments.id IS 'Canonical id, venue:BASE-QUOTE';
COMMENT ON COLUMN md.instruments.universe IS 'Universe that claims it; empty where a feed met it first';
COMMENT ON COLUMN md.instruments.native IS 'The venue''s own symbol; empty where unknown';
COMMENT ON COLUMN md.instruments.registered_at IS 'When it was first seen, UTC';
COMMENT ON TABLE md.partition_status IS 'State of every dataset, instrument and period of the lake';
COMMENT ON COLUMN md.partition_status.dataset IS 'Dataset of md_platform/domain/schemas.py';
COMMENT ON COLUMN md.partition_status.instrument IS 'Canonical id, venue:BASE-QUOTE';
COMMENT ON COLUMN md.partition_status.date IS 'First day of the period, UTC';
COMMENT ON COLUMN md.partition_status.status IS 'ok, degraded, failed, missing, pending or closed (no session)';
COMMENT ON COLUMN md.partition_status.rows IS 'Rows stored';
COMMENT ON COLUMN md.partition_status.bytes IS 'Size of the file, bytes';
COMMENT ON COLUMN md.partition_status.first_time IS 'Time of the first row, UTC';
COMMENT ON COLUMN md.partition_status.last_time IS 'Time of the last row, UTC';
COMMENT ON COLUMN md.partition_status.source IS 'Where the rows came from';
COMMENT ON COLUMN md.partition_status.sha256 IS 'Of the stored file''s bytes';
COMMENT ON COLUMN md.partition_status.score IS 'Quality from 0 to 1';
COMMENT ON COLUMN md.partition_status.evidence IS 'Counts, gaps, violations, why this source, why it failed';
COMMENT ON COLUMN md.partition_status.run_id IS 'Dagster run that made it';
COMMENT ON COLUMN md.partition_status.updated_at IS 'When it was last made, UTC';
COMMENT ON COLUMN md.partition_status.changed_at IS 'When its content last changed, UTC';

CREATE TABLE md.sources (
    source_id  smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text COLLATE "C" NOT NULL UNIQUE
);
COMMENT ON TABLE md.sources IS 'Where live rows came from: a venue''s id, or id@host where its endpoint was overridden; of bars, venue (its own candles) or trades (aggregated from its trades)';
COMMENT ON COLUMN md.sources.source_id IS 'Number that rows carry';
COMMENT ON COLUMN md.sources.name IS 'Name that readers see as source';

CREATE TABLE md.trades (
    instrument_id   integer NOT NULL,
    source_id       smallint NOT NULL,
    taker_side      smallint NOT NULL CHECK (taker_side IN (-1, 0, 1)),
    ts_event        timestamptz NOT NULL,
    ts_received     timestamptz NOT NULL,
    ts_event_ns     smallint NOT NULL,
    ts_received_ns  smallint NOT NULL,
    trade_count     integer NOT NULL,
    trade_id        bigint NOT NULL,
    price           double precision NOT NULL,
    size            double precision NOT NULL,
    quality         double precision NOT NULL,
    sent_late       boolean NOT NULL,
    trade_key       text COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX trades_key ON md.trades (instrument_id, ts_event, trade_id, trade_key, source_id);
COMMENT ON TABLE md.trades IS 'Trades, each once';
COMMENT ON COLUMN md.trades.instrument_id IS 'md.instruments';
COMMENT ON COLUMN md.trades.source_id IS 'md.sources';
COMMENT ON COLUMN md.trades.taker_side IS '1 the taker bought, -1 it sold, 0 unknown: the aggressor''s side, not the resting order''s';
COMMENT ON COLUMN md.trades.ts_event IS 'When the venue says the trade happened, UTC, µs';
COMMENT ON COLUMN md.trades.ts_received IS 'When this platform received it, UTC, µs';
COMMENT ON COLUMN md.trades.ts_event_ns IS 'Nanoseconds of ts_event within its µs, 0 to 999';
COMMENT ON COLUMN md.trades.ts_received_ns IS 'Nanoseconds of ts_received within its µs, 0 to 999';
COMMENT ON COLUMN md.trades.trade_count IS 'Fills in this row: 1, or more where a venue aggregates';
COMMENT ON COLUMN md.trades.trade_id IS 'The venue''s id where it is a number; 0 where trade_key holds it';
COMMENT ON COLUMN md.trades.trade_key IS 'The venue''s id where it is text; empty where trade_id holds it';
COMMENT ON COLUMN md.trades.price IS 'Quote currency';
COMMENT ON COLUMN md.trades.size IS 'Base currency';
COMMENT ON COLUMN md.trades.quality IS 'Score from 0 to 1';
COMMENT ON COLUMN md.trades.sent_late IS 'From before the subscription: some venues send the last trades on subscribing';

CREATE TABLE md.quotes (
    instrument_id   integer NOT NULL,
    source_id       smallint NOT NULL,
    ts_event        timestamptz NOT NULL,
    ts_received     timestamptz NOT NULL,
    ts_event_ns     smallint NOT NULL,
    ts_received_ns  smallint NOT NULL,
    bid             double precision NOT NULL,
    bid_size        double precision NOT NULL,
    ask             double precision NOT NULL,
    ask_size        double precision NOT NULL,
    sequence        bigint NOT NULL,
    quality         double precision NOT NULL
);
CREATE INDEX quotes_by_time ON md.quotes (instrument_id, ts_event);
COMMENT ON TABLE md.quotes IS 'Best bid and ask at every change';
COMMENT ON COLUMN md.quotes.instrument_id IS 'md.instruments';
COMMENT ON COLUMN md.quotes.source_id IS 'md.sources';
COMMENT ON COLUMN md.quotes.ts_event IS 'The venue''s time, UTC, µs; ts_received where it sends none';
COMMENT ON COLUMN md.quotes.ts_received IS 'When this platform received it, UTC, µs';
COMMENT ON COLUMN md.quotes.ts_event_ns IS 'Nanoseconds of ts_event within its µs, 0 to 999';
COMMENT ON COLUMN md.quotes.ts_received_ns IS 'Nanoseconds of ts_received within its µs, 0 to 999';
COMMENT ON COLUMN md.quotes.bid IS 'Best price to sell at, quote currency';
COMMENT ON COLUMN md.quotes.bid_size IS 'Base currency';
COMMENT ON COLUMN md.quotes.ask IS 'Best price to buy at, quote currency';
COMMENT ON COLUMN md.quotes.ask_size IS 'Base currency';
COMMENT ON COLUMN md.quotes.sequence IS 'The venue''s number of the update, 0 where it sends none';
COMMENT ON COLUMN md.quotes.quality IS 'Score from 0 to 1';

CREATE TABLE md.books (
    instrument_id   integer NOT NULL,
    source_id       smallint NOT NULL,
    ts_event        timestamptz NOT NULL,
    ts_received     timestamptz NOT NULL,
    ts_event_ns     smallint NOT NULL,
    ts_received_ns  smallint NOT NULL,
    sequence        bigint NOT NULL,
    bid_prices      double precision[] NOT NULL,
    bid_sizes       double precision[] NOT NULL,
    ask_prices      double precision[] NOT NULL,
    ask_sizes       double precision[] NOT NULL
);
CREATE INDEX books_by_time ON md.books (instrument_id, ts_event);
COMMENT ON TABLE md.books IS 'The best levels of order books at an interval: only books known to be right';
COMMENT ON COLUMN md.books.instrument_id IS 'md.instruments';
COMMENT ON COLUMN md.books.source_id IS 'md.sources';
COMMENT ON COLUMN md.books.ts_event IS 'The venue''s time, UTC, µs';
COMMENT ON COLUMN md.books.ts_received IS 'When this platform received the last change in it, UTC, µs';
COMMENT ON COLUMN md.books.ts_event_ns IS 'Nanoseconds of ts_event within its µs, 0 to 999';
COMMENT ON COLUMN md.books.ts_received_ns IS 'Nanoseconds of ts_received within its µs, 0 to 999';
COMMENT ON COLUMN md.books.sequence IS 'The venue''s number of the last update, 0 where it sends none';
COMMENT ON COLUMN md.books.bid_prices IS 'From the best (highest) on, quote currency';
COMMENT ON COLUMN md.books.bid_sizes IS 'Of the same levels, base currency';
COMMENT ON COLUMN md.books.ask_prices IS 'From the best (lowest) on, quote currency';
COMMENT ON COLUMN md.books.ask_sizes IS 'Of the same levels, base currency';

-- Bars stand in a table for each time that they are kept; md.bars is all of them.
DO $$
DECLARE
    kept record;
    meant record;
BEGIN
    FOR kept IN
        VALUES ('bars_1s', 'Bars of a second', ARRAY['1s']),
               ('bars_1m', 'Bars of a minute', ARRAY['1m']),
               ('bars_intraday', 'Bars of 5m to 4h', ARRAY['5m', '15m', '30m', '1h', '4h']),
               ('bars_daily', 'Bars of a day, a week and a month', ARRAY['1d', '1w', '1M'])
    LOOP
        EXECUTE format($table$
            CREATE TABLE md.%1$I (
                instrument_id           integer NOT NULL,
                source_id               smallint NOT NULL,
                timeframe               text COLLATE "C" NOT NULL CONSTRAINT timeframe CHECK (timeframe IN (%2$s)),
                open_time               timestamptz NOT NULL,
                close_time              timestamptz NOT NULL,
                open                    double precision NOT NULL,
                high                    double precision NOT NULL,
                low                     double precision NOT NULL,
                close                   double precision NOT NULL,
                volume                  double precision NOT NULL,
                quote_volume            double precision,
                trade_count             bigint,
                taker_buy_volume        double precision,
                taker_buy_quote_volume  double precision,
                is_closed               boolean NOT NULL,
                revision                bigint NOT NULL,
                known_at                timestamptz NOT NULL,
                known_at_ns             smallint NOT NULL
            )$table$, kept.column1, (SELECT string_agg(quote_literal(each), ', ') FROM unnest(kept.column3) AS each));
        EXECUTE format('COMMENT ON TABLE md.%I IS %L', kept.column1,
                       kept.column2 || ', every revision: readers take the latest');
        FOR meant IN
            VALUES
                ('instrument_id', 'md.instruments'),
                ('source_id', 'md.sources'),
                ('timeframe', 'Length of the bar'),
                ('open_time', 'Start, inclusive, UTC'),
                ('close_time', 'End, exclusive, UTC'),
                ('open', 'Price of the first trade, quote currency'),
                ('high', 'Highest price, quote currency'),
                ('low', 'Lowest price, quote currency'),
                ('close', 'Price of the last trade, quote currency'),
                ('volume', 'Amount traded, base currency'),
                ('quote_volume', 'Value traded, quote currency; null where unknown'),
                ('trade_count', 'Number of trades; null where unknown'),
                ('taker_buy_volume', 'Volume whose aggressor bought, base currency; null where unknown'),
                ('taker_buy_quote_volume', 'Value whose aggressor bought, quote currency; null where unknown'),
                ('is_closed', 'False while the period still ran when this revision was made'),
                ('revision', '0 at first sight, +1 for every change of content'),
                ('known_at', 'When this content was first known, UTC, µs'),
                ('known_at_ns', 'Nanoseconds of known_at within its µs, 0 to 999')
        LOOP
            EXECUTE format('COMMENT ON COLUMN md.%I.%I IS %L', kept.column1, meant.column1, meant.column2);
        END LOOP;
    END LOOP;
END $$;
CREATE UNIQUE INDEX bars_1s_key ON md.bars_1s (instrument_id, timeframe, open_time, source_id, revision);
CREATE UNIQUE INDEX bars_1m_key ON md.bars_1m (instrument_id, timeframe, open_time, source_id, revision);
CREATE UNIQUE INDEX bars_intraday_key ON md.bars_intraday (instrument_id, timeframe, open_time, source_id, revision);
CREATE UNIQUE INDEX bars_daily_key ON md.bars_daily (instrument_id, timeframe, open_time, source_id, revision);

CREATE TABLE md.venue_events (
    at                timestamptz NOT NULL,
    at_ns             smallint NOT NULL,
    kind              text COLLATE "C" NOT NULL,
    venue             text COLLATE "C" NOT NULL,
    feed              text NOT NULL,
    connection        text NOT NULL,
    cause             text NOT NULL,
    affected_from     timestamptz,
    affected_from_ns  smallint,
    affected_to       timestamptz,
    affected_to_ns    smallint,
    channels          text[] NOT NULL,
    instruments       text[] NOT NULL,
    first_missing     bigint,
    last_missing      bigint,
    detail            jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX venue_events_by_venue ON md.venue_events (venue, at);
CREATE INDEX venue_events_by_time ON md.venue_events (at);
COMMENT ON TABLE md.venue_events IS 'What happened to feeds and venues: disconnects, gaps, stalls, halts, resyncs, what was shed';
COMMENT ON COLUMN md.venue_events.at IS 'When it was noticed, UTC, µs';
COMMENT ON COLUMN md.venue_events.at_ns IS 'Nanoseconds of at within its µs, 0 to 999';
COMMENT ON COLUMN md.venue_events.kind IS 'What happened: disconnected, gap, repaired, stalled, halted, ...';
COMMENT ON COLUMN md.venue_events.venue IS 'The venue''s id';
COMMENT ON COLUMN md.venue_events.feed IS 'The venue''s feed';
COMMENT ON COLUMN md.venue_events.connection IS 'The connection within the feed';
COMMENT ON COLUMN md.venue_events.cause IS 'Why, in words';
COMMENT ON COLUMN md.venue_events.affected_from IS 'Start of what is affected, inclusive, UTC, µs; null where unknown';
COMMENT ON COLUMN md.venue_events.affected_from_ns IS 'Nanoseconds of affected_from within its µs';
COMMENT ON COLUMN md.venue_events.affected_to IS 'End of what is affected, exclusive, UTC, µs; null while it goes on';
COMMENT ON COLUMN md.venue_events.affected_to_ns IS 'Nanoseconds of affected_to within its µs';
COMMENT ON COLUMN md.venue_events.channels IS 'trades, quotes, book, bars; empty means all of the connection';
COMMENT ON COLUMN md.venue_events.instruments IS 'Instrument ids; empty means all of the connection';
COMMENT ON COLUMN md.venue_events.first_missing IS 'First of the venue''s numbers that never came; null where it does not number';
COMMENT ON COLUMN md.venue_events.last_missing IS 'Last of them';
COMMENT ON COLUMN md.venue_events.detail IS 'What else is known';

CREATE TABLE md.quarantined_messages (
    received_at     timestamptz NOT NULL,
    received_at_ns  smallint NOT NULL,
    venue           text COLLATE "C" NOT NULL,
    feed            text NOT NULL,
    reason          text NOT NULL,
    message         bytea NOT NULL
);
CREATE INDEX quarantined_messages_by_venue ON md.quarantined_messages (venue, received_at);
COMMENT ON TABLE md.quarantined_messages IS 'What venues sent and no rule accepted: malformed, unknown, or a rejected value';
COMMENT ON COLUMN md.quarantined_messages.received_at IS 'When this platform received it, UTC, µs';
COMMENT ON COLUMN md.quarantined_messages.received_at_ns IS 'Nanoseconds of received_at within its µs, 0 to 999';
COMMENT ON COLUMN md.quarantined_messages.venue IS 'The venue''s id';
COMMENT ON COLUMN md.quarantined_messages.feed IS 'The venue''s feed';
COMMENT ON COLUMN md.quarantined_messages.reason IS 'Why it was not accepted, led by the name of the rule where one rejected it';
COMMENT ON COLUMN md.quarantined_messages.message IS 'The bytes as they were received';

CREATE TABLE md.spool_progress (
    spool       uuid PRIMARY KEY,
    last_row    bigint NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE md.spool_progress IS 'How far each spool is stored, committed together with the rows';
COMMENT ON COLUMN md.spool_progress.spool IS 'The spool''s own id';
COMMENT ON COLUMN md.spool_progress.last_row IS 'Last row of the spool that is stored';
COMMENT ON COLUMN md.spool_progress.updated_at IS 'When it was stored, UTC';

CREATE TABLE md.live_tables (
    name         text PRIMARY KEY,
    time_column  text NOT NULL,
    step         interval NOT NULL,
    series       text,
    ordering     text
);
COMMENT ON TABLE md.live_tables IS 'The tables that are cut by time, and how';
COMMENT ON COLUMN md.live_tables.name IS 'Table in schema md';
COMMENT ON COLUMN md.live_tables.time_column IS 'The time that decides the partition or chunk';
COMMENT ON COLUMN md.live_tables.step IS 'Length of a partition or chunk; old data leave the store in such steps';
COMMENT ON COLUMN md.live_tables.series IS 'Columns whose values are compressed together; null: never compressed';
COMMENT ON COLUMN md.live_tables.ordering IS 'Order of the rows in compressed batches';
INSERT INTO md.live_tables (name, time_column, step, series, ordering) VALUES
    ('trades', 'ts_event', '1 day', 'instrument_id, source_id', 'ts_event, trade_id'),
    ('quotes', 'ts_event', '1 day', 'instrument_id, source_id', 'ts_event, sequence'),
    ('books', 'ts_event', '1 day', 'instrument_id, source_id', 'ts_event, sequence'),
    ('bars_1s', 'open_time', '1 day', 'instrument_id, source_id, timeframe', 'open_time, revision'),
    ('bars_1m', 'open_time', '7 days', 'instrument_id, source_id, timeframe', 'open_time, revision'),
    ('bars_intraday', 'open_time', '28 days', 'instrument_id, source_id, timeframe', 'open_time, revision'),
    ('bars_daily', 'open_time', '364 days', 'instrument_id, source_id, timeframe', 'open_time, revision'),
    ('venue_events', 'at', '28 days', NULL, NULL),
    ('quarantined_messages', 'received_at', '1 day', NULL, NULL);
