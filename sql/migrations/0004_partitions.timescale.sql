-- TimescaleDB: hypertables, the columnstore, continuous aggregates. The same names and columns as in 0004_partitions.plain.

DO $$
DECLARE
    cut record;
BEGIN
    FOR cut IN SELECT * FROM md.live_tables LOOP
        PERFORM create_hypertable(format('md.%I', cut.name)::regclass, by_range(cut.time_column, cut.step),
                                  create_default_indexes => false);
        IF cut.series IS NOT NULL THEN
            EXECUTE format('ALTER TABLE md.%I SET (timescaledb.enable_columnstore = true, '
                           'timescaledb.segmentby = %L, timescaledb.orderby = %L)', cut.name, cut.series, cut.ordering);
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION md.make_partitions(of_table text, moments timestamptz[]) RETURNS integer
    LANGUAGE sql IMMUTABLE
    RETURN 0;
COMMENT ON FUNCTION md.make_partitions IS 'Nothing to do: TimescaleDB makes chunks itself';

-- The latest revision of each bar of a minute, and bars of an hour and a day rolled up from them by the domain's rule
-- (md_platform/domain/bars.py; tests compare the two). What is not refreshed yet is computed at the read.
CREATE MATERIALIZED VIEW md.rolled_1m WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    instrument_id,
    source_id,
    time_bucket('1 minute', open_time) AS open_time,
    last(open, revision) AS open,
    last(high, revision) AS high,
    last(low, revision) AS low,
    last(close, revision) AS close,
    last(volume, revision) AS volume,
    last(quote_volume, revision) AS quote_volume,
    last(trade_count, revision) AS trade_count,
    last(taker_buy_volume, revision) AS taker_buy_volume,
    last(taker_buy_quote_volume, revision) AS taker_buy_quote_volume,
    last(is_closed, revision) AS is_closed,
    max(revision) AS revision,
    last(known_at, revision) AS known_at
FROM md.bars_1m
GROUP BY instrument_id, source_id, time_bucket('1 minute', open_time)
WITH NO DATA;

CREATE MATERIALIZED VIEW md.rolled_1h WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    instrument_id,
    source_id,
    time_bucket('1 hour', open_time) AS open_time,
    first(open, open_time) AS open,
    max(high) AS high,
    min(low) AS low,
    last(close, open_time) AS close,
    sum(volume) AS volume,
    CASE WHEN count(quote_volume) = count(*) THEN sum(quote_volume) END AS quote_volume,
    CASE WHEN count(trade_count) = count(*) THEN sum(trade_count)::bigint END AS trade_count,
    CASE WHEN count(taker_buy_volume) = count(*) THEN sum(taker_buy_volume) END AS taker_buy_volume,
    CASE WHEN count(taker_buy_quote_volume) = count(*) THEN sum(taker_buy_quote_volume) END AS taker_buy_quote_volume,
    bool_and(is_closed) AS is_closed,
    sum(revision)::bigint AS revision,
    max(known_at) AS known_at
FROM md.rolled_1m
GROUP BY instrument_id, source_id, time_bucket('1 hour', open_time)
WITH NO DATA;

CREATE MATERIALIZED VIEW md.rolled_1d WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    instrument_id,
    source_id,
    time_bucket('1 day', open_time) AS open_time,
    first(open, open_time) AS open,
    max(high) AS high,
    min(low) AS low,
    last(close, open_time) AS close,
    sum(volume) AS volume,
    CASE WHEN count(quote_volume) = count(*) THEN sum(quote_volume) END AS quote_volume,
    CASE WHEN count(trade_count) = count(*) THEN sum(trade_count)::bigint END AS trade_count,
    CASE WHEN count(taker_buy_volume) = count(*) THEN sum(taker_buy_volume) END AS taker_buy_volume,
    CASE WHEN count(taker_buy_quote_volume) = count(*) THEN sum(taker_buy_quote_volume) END AS taker_buy_quote_volume,
    bool_and(is_closed) AS is_closed,
    sum(revision)::bigint AS revision,
    max(known_at) AS known_at
FROM md.rolled_1h
GROUP BY instrument_id, source_id, time_bucket('1 day', open_time)
WITH NO DATA;

DO $$
DECLARE
    aggregate text;
BEGIN
    FOREACH aggregate IN ARRAY ARRAY['rolled_1m', 'rolled_1h', 'rolled_1d'] LOOP
        EXECUTE format('ALTER MATERIALIZED VIEW md.%I SET (timescaledb.enable_columnstore = true, '
                       'timescaledb.segmentby = %L, timescaledb.orderby = %L)',
                       aggregate, 'instrument_id, source_id', 'open_time');
    END LOOP;
END $$;

CREATE FUNCTION md.set_policy(of_table text, policy text, setting text, wanted interval) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    relation regclass := format('md.%I', of_table);
BEGIN
    IF wanted = (SELECT (config ->> setting)::interval FROM timescaledb_information.jobs
                 WHERE hypertable_schema = 'md' AND hypertable_name = of_table AND proc_name = policy) THEN
        RETURN NULL;
    END IF;
    IF policy = 'policy_retention' THEN
        PERFORM remove_retention_policy(relation, if_exists => true);
        PERFORM add_retention_policy(relation, wanted);
    ELSE
        CALL remove_columnstore_policy(relation, if_exists => true);
        CALL add_columnstore_policy(relation, after => wanted);
    END IF;
    RETURN format('%s: %s %s', of_table, setting, wanted);
END $$;
COMMENT ON FUNCTION md.set_policy IS 'Make a retention or columnstore policy what is wanted; what was changed, or null';

-- One job refreshes the three in order, oldest first, in place of a policy for each: refreshes that meet would leave hours
-- without the minutes that the other was still at, and what is refreshed counts as complete.
CREATE PROCEDURE md.refresh_rolled(job_id integer, config jsonb)
    LANGUAGE plpgsql AS $$
DECLARE
    oldest timestamptz := now() - (config ->> 'start_offset')::interval;
    options jsonb := '{"buckets_per_batch": 8640, "refresh_newest_first": false}';
BEGIN
    CALL refresh_continuous_aggregate('md.rolled_1m', oldest, now() - interval '5 minutes', options => options);
    COMMIT;
    CALL refresh_continuous_aggregate('md.rolled_1h', oldest, now() - interval '1 hour', options => options);
    COMMIT;
    CALL refresh_continuous_aggregate('md.rolled_1d', oldest, now() - interval '1 day', options => options);
END $$;
COMMENT ON PROCEDURE md.refresh_rolled IS 'Bring the aggregates of bars up to date, as far back as config.start_offset';

CREATE FUNCTION md.keep(of_table text, drop_after interval, columnstore_after interval) RETURNS text[]
    LANGUAGE plpgsql AS $$
DECLARE
    cut record;
    aggregate text := CASE of_table WHEN 'bars_1m' THEN 'rolled_1m' WHEN 'bars_intraday' THEN 'rolled_1h'
                                    WHEN 'bars_daily' THEN 'rolled_1d' END;
    done text[] := '{}';
BEGIN
    SELECT * INTO STRICT cut FROM md.live_tables WHERE name = of_table;
    done := done || md.set_policy(of_table, 'policy_retention', 'drop_after', drop_after);
    IF cut.series IS NOT NULL THEN
        done := done || md.set_policy(of_table, 'policy_compression', 'compress_after', columnstore_after);
    END IF;
    -- A refresh over minutes that retention dropped would delete what was made from them, so it begins a chunk later.
    IF of_table = 'bars_1m' AND NOT EXISTS (
        SELECT FROM timescaledb_information.jobs
        WHERE proc_schema = 'md' AND proc_name = 'refresh_rolled'
          AND (config ->> 'start_offset')::interval = drop_after - interval '7 days'
    ) THEN
        PERFORM delete_job(job_id) FROM timescaledb_information.jobs
        WHERE proc_schema = 'md' AND proc_name = 'refresh_rolled';
        PERFORM add_job('md.refresh_rolled', '5 minutes',
                        config => jsonb_build_object('start_offset', drop_after - interval '7 days'));
        done := done || format('aggregates: refreshed from %s ago', drop_after - interval '7 days');
    END IF;
    IF aggregate IS NOT NULL THEN
        done := done || md.set_policy(aggregate, 'policy_compression', 'compress_after', interval '31 days')
                     || md.set_policy(aggregate, 'policy_retention', 'drop_after', drop_after);
    END IF;
    RETURN array_remove(done, NULL);
END $$;
COMMENT ON FUNCTION md.keep IS 'Make the policies of a table, and of the aggregate kept as long, what is wanted; what was changed';
