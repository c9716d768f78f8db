-- Readers' views of bars, the same on TimescaleDB and on plain PostgreSQL.

CREATE VIEW md.bars AS
SELECT * FROM md.bars_1s
UNION ALL
SELECT * FROM md.bars_1m
UNION ALL
SELECT * FROM md.bars_intraday
UNION ALL
SELECT * FROM md.bars_daily;
COMMENT ON VIEW md.bars IS 'Bars of all timeframes, every revision';

CREATE VIEW md.latest_bars AS
SELECT DISTINCT ON (instrument_id, timeframe, open_time, source_id) *
FROM md.bars
ORDER BY instrument_id, timeframe, open_time, source_id, revision DESC;
COMMENT ON VIEW md.latest_bars IS 'Bars of all timeframes, the latest revision of each';

-- A bar is closed when all in it are and its own period is over. Filter by instrument_id: it reaches the bars below,
-- which the instrument's name does not.
CREATE VIEW md.rolled_bars AS
SELECT
    instrument_id,
    source_id,
    instruments.id AS instrument,
    rolled.timeframe,
    rolled.open_time,
    rolled.open_time + rolled.length AS close_time,
    rolled.open,
    rolled.high,
    rolled.low,
    rolled.close,
    rolled.volume,
    rolled.quote_volume,
    CASE WHEN rolled.volume > 0 THEN rolled.quote_volume / rolled.volume END AS vwap,
    rolled.trade_count,
    rolled.taker_buy_volume,
    rolled.taker_buy_quote_volume,
    rolled.is_closed AND rolled.open_time + rolled.length <= now() AS is_closed,
    sources.name AS source,
    rolled.revision,
    rolled.known_at
FROM (
    SELECT '1m' AS timeframe, interval '1 minute' AS length, * FROM md.rolled_1m
    UNION ALL
    SELECT '1h' AS timeframe, interval '1 hour' AS length, * FROM md.rolled_1h
    UNION ALL
    SELECT '1d' AS timeframe, interval '24 hours' AS length, * FROM md.rolled_1d
) AS rolled
JOIN md.instruments USING (instrument_id)
JOIN md.sources USING (source_id);
COMMENT ON VIEW md.rolled_bars IS 'Bars of 1m (latest revision), and of 1h and 1d rolled up from them, in the columns of every bar';

-- What a column of a view means is what it means in the table.
DO $$
DECLARE
    meant record;
BEGIN
    FOR meant IN
        SELECT views.oid::regclass AS view, of_view.attname, col_description(of_table.attrelid, of_table.attnum) AS meaning
        FROM pg_class views
        JOIN pg_attribute of_view ON of_view.attrelid = views.oid AND of_view.attnum > 0
        JOIN pg_attribute of_table ON of_table.attrelid = 'md.bars_1m'::regclass AND of_table.attname = of_view.attname
        WHERE views.relnamespace = 'md'::regnamespace AND views.relkind = 'v'
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', meant.view, meant.attname, meant.meaning);
    END LOOP;
END $$;
COMMENT ON COLUMN md.rolled_bars.instrument IS 'Canonical id, venue:BASE-QUOTE';
COMMENT ON COLUMN md.rolled_bars.source IS 'Name in md.sources';
COMMENT ON COLUMN md.rolled_bars.vwap IS 'quote_volume / volume, quote currency; null without volume or quote_volume';
COMMENT ON VIEW md.rolled_1m IS 'The latest revision of each bar of a minute';
COMMENT ON VIEW md.rolled_1h IS 'Bars of an hour rolled up from rolled_1m';
COMMENT ON VIEW md.rolled_1d IS 'Bars of a day rolled up from rolled_1h';
