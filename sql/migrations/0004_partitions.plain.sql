-- Plain PostgreSQL: native range partitions, made when a row needs one and dropped when they are too old.

-- The tables of 0003 again, partitioned.
DO $$
DECLARE
    cut record;
BEGIN
    CREATE SCHEMA md_template;
    FOR cut IN SELECT * FROM md.live_tables LOOP
        EXECUTE format('ALTER TABLE md.%I SET SCHEMA md_template', cut.name);
        EXECUTE format('CREATE TABLE md.%1$I (LIKE md_template.%1$I INCLUDING ALL) PARTITION BY RANGE (%2$I)',
                       cut.name, cut.time_column);
        EXECUTE format('COMMENT ON TABLE md.%I IS %L', cut.name,
                       obj_description(format('md_template.%I', cut.name)::regclass, 'pg_class'));
    END LOOP;
    DROP SCHEMA md_template CASCADE;
END $$;

-- Partitions are cut from a Monday on, as chunks of TimescaleDB are.
CREATE FUNCTION md.partition_start(moment timestamptz, step interval) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE
    RETURN date_bin(step, moment, timestamptz '2000-01-03 00:00:00+00');
COMMENT ON FUNCTION md.partition_start IS 'Start of the partition that holds the moment';

CREATE FUNCTION md.make_partitions(of_table text, moments timestamptz[]) RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    cut record;
    starts timestamptz;
    part text;
    made integer := 0;
BEGIN
    SELECT * INTO STRICT cut FROM md.live_tables WHERE name = of_table;
    PERFORM pg_advisory_xact_lock(hashtextextended('md.make_partitions', 0));
    FOR starts IN SELECT DISTINCT md.partition_start(moment, cut.step) FROM unnest(moments) AS moment ORDER BY 1 LOOP
        part := of_table || to_char(starts AT TIME ZONE 'UTC', '"_"YYYYMMDD');
        IF to_regclass(format('md.%I', part)) IS NULL THEN
            -- Attached, not made as a partition: that would stop readers and writers of the whole table.
            EXECUTE format('CREATE TABLE md.%I (LIKE md.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part, of_table);
            EXECUTE format('ALTER TABLE md.%I ATTACH PARTITION md.%I FOR VALUES FROM (%L) TO (%L)',
                           of_table, part, starts, starts + cut.step);
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END $$;
COMMENT ON FUNCTION md.make_partitions IS 'Make the partitions that hold the moments; how many were missing';

CREATE FUNCTION md.keep(of_table text, drop_after interval, columnstore_after interval) RETURNS text[]
    LANGUAGE plpgsql AS $$
DECLARE
    cut record;
    oldest timestamptz;
    part record;
    done text[] := '{}';
BEGIN
    SELECT * INTO STRICT cut FROM md.live_tables WHERE name = of_table;
    PERFORM md.make_partitions(of_table, ARRAY[now() - cut.step, now(), now() + cut.step, now() + 2 * cut.step]);
    oldest := now() - drop_after;
    FOR part IN
        SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
        WHERE inhparent = format('md.%I', of_table)::regclass
        ORDER BY child.relname
    LOOP
        IF to_date(right(part.relname, 8), 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC' + cut.step <= oldest THEN
            EXECUTE format('DROP TABLE md.%I', part.relname);
            done := done || format('dropped %s', part.relname);
        END IF;
    END LOOP;
    RETURN done;
END $$;
COMMENT ON FUNCTION md.keep IS 'Make the next partitions of a table and drop those older than drop_after; what was done. Nothing is compressed here: columnstore_after is for TimescaleDB';

-- The latest revision of each bar of a minute, and bars of an hour and a day rolled up from them: continuous aggregates
-- on TimescaleDB, the same rows computed at each read here.
CREATE VIEW md.rolled_1m AS
SELECT DISTINCT ON (instrument_id, source_id, open_time)
    instrument_id, source_id, open_time, open, high, low, close, volume, quote_volume, trade_count, taker_buy_volume,
    taker_buy_quote_volume, is_closed, revision, known_at
FROM md.bars_1m
ORDER BY instrument_id, source_id, open_time, revision DESC;

CREATE VIEW md.rolled_1h AS
SELECT
    instrument_id,
    source_id,
    date_trunc('hour', open_time, 'UTC') AS open_time,
    (array_agg(open ORDER BY open_time))[1] AS open,
    max(high) AS high,
    min(low) AS low,
    (array_agg(close ORDER BY open_time DESC))[1] AS close,
    sum(volume) AS volume,
    CASE WHEN count(quote_volume) = count(*) THEN sum(quote_volume) END AS quote_volume,
    CASE WHEN count(trade_count) = count(*) THEN sum(trade_count)::bigint END AS trade_count,
    CASE WHEN count(taker_buy_volume) = count(*) THEN sum(taker_buy_volume) END AS taker_buy_volume,
    CASE WHEN count(taker_buy_quote_volume) = count(*) THEN sum(taker_buy_quote_volume) END AS taker_buy_quote_volume,
    bool_and(is_closed) AS is_closed,
    sum(revision)::bigint AS revision,
    max(known_at) AS known_at
FROM md.rolled_1m
GROUP BY instrument_id, source_id, date_trunc('hour', open_time, 'UTC');

CREATE VIEW md.rolled_1d AS
SELECT
    instrument_id,
    source_id,
    date_trunc('day', open_time, 'UTC') AS open_time,
    (array_agg(open ORDER BY open_time))[1] AS open,
    max(high) AS high,
    min(low) AS low,
    (array_agg(close ORDER BY open_time DESC))[1] AS close,
    sum(volume) AS volume,
    CASE WHEN count(quote_volume) = count(*) THEN sum(quote_volume) END AS quote_volume,
    CASE WHEN count(trade_count) = count(*) THEN sum(trade_count)::bigint END AS trade_count,
    CASE WHEN count(taker_buy_volume) = count(*) THEN sum(taker_buy_volume) END AS taker_buy_volume,
    CASE WHEN count(taker_buy_quote_volume) = count(*) THEN sum(taker_buy_quote_volume) END AS taker_buy_quote_volume,
    bool_and(is_closed) AS is_closed,
    sum(revision)::bigint AS revision,
    max(known_at) AS known_at
FROM md.rolled_1h
GROUP BY instrument_id, source_id, date_trunc('day', open_time, 'UTC');
