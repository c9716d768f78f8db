-- Written by `make schema` from sql/migrations: change those, then write this again.

CREATE SCHEMA md;

CREATE FUNCTION md.keep(of_table text, drop_after interval, columnstore_after interval) RETURNS text[]
    LANGUAGE plpgsql
    AS $$
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

COMMENT ON FUNCTION md.keep(of_table text, drop_after interval, columnstore_after interval) IS 'Make the next partitions of a table and drop those older than drop_after; what was done. Nothing is compressed here: columnstore_after is for TimescaleDB';

CREATE FUNCTION md.make_partitions(of_table text, moments timestamp with time zone[]) RETURNS integer
    LANGUAGE plpgsql
    AS $$
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

COMMENT ON FUNCTION md.make_partitions(of_table text, moments timestamp with time zone[]) IS 'Make the partitions that hold the moments; how many were missing';

CREATE FUNCTION md.partition_start(moment timestamp with time zone, step interval) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE
    RETURN date_bin(step, moment, '2000-01-03 00:00:00+00'::timestamp with time zone);

COMMENT ON FUNCTION md.partition_start(moment timestamp with time zone, step interval) IS 'Start of the partition that holds the moment';

CREATE TABLE md.alert_rules (
    id text NOT NULL COLLATE pg_catalog."C",
    owner text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    instrument text COLLATE pg_catalog."C",
    condition jsonb NOT NULL,
    severity text NOT NULL,
    cooldown_s integer NOT NULL,
    webhook_url text,
    webhook_secret text,
    is_enabled boolean DEFAULT true NOT NULL,
    memory jsonb DEFAULT '{}'::jsonb NOT NULL,
    version bigint DEFAULT 0 NOT NULL,
    last_fired_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT alert_rules_cooldown_s_check CHECK ((cooldown_s >= 0)),
    CONSTRAINT alert_rules_severity_check CHECK ((severity = ANY (ARRAY['low'::text, 'medium'::text, 'high'::text, 'critical'::text])))
);

COMMENT ON TABLE md.alert_rules IS 'Rules of alerts';

COMMENT ON COLUMN md.alert_rules.id IS 'What requests call it';

COMMENT ON COLUMN md.alert_rules.owner IS 'Principal that made it, and is told';

COMMENT ON COLUMN md.alert_rules.name IS 'In words';

COMMENT ON COLUMN md.alert_rules.instrument IS 'Canonical id, venue:BASE-QUOTE; null: of all, where the condition is about feeds';

COMMENT ON COLUMN md.alert_rules.condition IS 'When it fires: its kind and the kind''s parameters';

COMMENT ON COLUMN md.alert_rules.severity IS 'low, medium, high or critical';

COMMENT ON COLUMN md.alert_rules.cooldown_s IS 'How long it is silent after it fired, s';

COMMENT ON COLUMN md.alert_rules.webhook_url IS 'Where alerts are posted; null: nowhere';

COMMENT ON COLUMN md.alert_rules.webhook_secret IS 'Signs what the webhook gets (HMAC-SHA256); never shown';

COMMENT ON COLUMN md.alert_rules.is_enabled IS 'Whether it is looked at';

COMMENT ON COLUMN md.alert_rules.memory IS 'What the evaluator knows: how far it read, on which side the value was';

COMMENT ON COLUMN md.alert_rules.version IS 'Of memory: only who knows the last one changes it';

COMMENT ON COLUMN md.alert_rules.last_fired_at IS 'When it last fired, UTC';

COMMENT ON COLUMN md.alert_rules.created_at IS 'When it was made, UTC';

CREATE TABLE md.alerts_fired (
    id bigint NOT NULL,
    rule_id text NOT NULL COLLATE pg_catalog."C",
    entry text NOT NULL COLLATE pg_catalog."C",
    owner text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    instrument text COLLATE pg_catalog."C",
    severity text NOT NULL,
    message text NOT NULL,
    value double precision,
    at timestamp with time zone NOT NULL,
    fired_at timestamp with time zone DEFAULT now() NOT NULL,
    is_published boolean DEFAULT false NOT NULL,
    webhook_state text DEFAULT 'none'::text NOT NULL,
    webhook_attempts smallint DEFAULT 0 NOT NULL,
    webhook_next_at timestamp with time zone,
    webhook_error text,
    CONSTRAINT alerts_fired_webhook_state_check CHECK ((webhook_state = ANY (ARRAY['none'::text, 'waiting'::text, 'delivered'::text, 'dead'::text])))
);

COMMENT ON TABLE md.alerts_fired IS 'Alerts that fired, and whether their webhooks were delivered';

COMMENT ON COLUMN md.alerts_fired.id IS 'Rises with time';

COMMENT ON COLUMN md.alerts_fired.rule_id IS 'Rule that fired; it may be gone';

COMMENT ON COLUMN md.alerts_fired.entry IS 'What fired it: a rule fires once for it';

COMMENT ON COLUMN md.alerts_fired.owner IS 'Of the rule';

COMMENT ON COLUMN md.alerts_fired.name IS 'Of the rule, as it was';

COMMENT ON COLUMN md.alerts_fired.instrument IS 'Canonical id, venue:BASE-QUOTE; null where it is about a feed';

COMMENT ON COLUMN md.alerts_fired.severity IS 'low, medium, high or critical';

COMMENT ON COLUMN md.alerts_fired.message IS 'What happened, in words';

COMMENT ON COLUMN md.alerts_fired.value IS 'Value that fired it; null where there is none';

COMMENT ON COLUMN md.alerts_fired.at IS 'Of what fired it, UTC';

COMMENT ON COLUMN md.alerts_fired.fired_at IS 'When it fired, UTC';

COMMENT ON COLUMN md.alerts_fired.is_published IS 'Whether Redis has it';

COMMENT ON COLUMN md.alerts_fired.webhook_state IS 'none, waiting, delivered or dead (given up)';

COMMENT ON COLUMN md.alerts_fired.webhook_attempts IS 'How often it was posted';

COMMENT ON COLUMN md.alerts_fired.webhook_next_at IS 'When it is posted next, UTC';

COMMENT ON COLUMN md.alerts_fired.webhook_error IS 'Why the last attempt failed';

ALTER TABLE md.alerts_fired ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME md.alerts_fired_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE md.api_keys (
    id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    secret_hash text NOT NULL,
    role text NOT NULL,
    scopes text[] DEFAULT '{}'::text[] NOT NULL,
    tier text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    CONSTRAINT api_keys_role_check CHECK ((role = ANY (ARRAY['reader'::text, 'trader'::text, 'admin'::text]))),
    CONSTRAINT api_keys_tier_check CHECK ((tier = ANY (ARRAY['free'::text, 'premium'::text, 'enterprise'::text])))
);

COMMENT ON TABLE md.api_keys IS 'API keys, made and revoked by mdp token';

COMMENT ON COLUMN md.api_keys.id IS 'The middle of mdp_<id>_<secret>';

COMMENT ON COLUMN md.api_keys.name IS 'Who has it; stands in the audit log';

COMMENT ON COLUMN md.api_keys.secret_hash IS 'argon2; the secret itself is nowhere';

COMMENT ON COLUMN md.api_keys.role IS 'reader, trader or admin';

COMMENT ON COLUMN md.api_keys.scopes IS 'What of the role it may use; empty: all of it';

COMMENT ON COLUMN md.api_keys.tier IS 'free, premium or enterprise: its limits';

COMMENT ON COLUMN md.api_keys.created_at IS 'When it was made, UTC';

COMMENT ON COLUMN md.api_keys.expires_at IS 'When it ceases to be valid, UTC; null: never';

COMMENT ON COLUMN md.api_keys.revoked_at IS 'When it was revoked, UTC; null: it was not';

CREATE TABLE md.audit_log (
    at timestamp with time zone NOT NULL,
    principal text COLLATE pg_catalog."C",
    address text NOT NULL,
    service text NOT NULL COLLATE pg_catalog."C",
    action text NOT NULL COLLATE pg_catalog."C",
    route text NOT NULL COLLATE pg_catalog."C",
    target text NOT NULL,
    status smallint NOT NULL,
    bytes bigint NOT NULL,
    ms double precision NOT NULL,
    trace_id text NOT NULL COLLATE pg_catalog."C"
);

COMMENT ON TABLE md.audit_log IS 'Every access to data: who, when, what, how it ended; no secrets';

COMMENT ON COLUMN md.audit_log.at IS 'When the access ended, UTC';

COMMENT ON COLUMN md.audit_log.principal IS 'Who; null: nobody, not authenticated';

COMMENT ON COLUMN md.audit_log.address IS 'Of the client';

COMMENT ON COLUMN md.audit_log.service IS 'api or gateway';

COMMENT ON COLUMN md.audit_log.action IS 'GET, POST, subscribe, replay, ...';

COMMENT ON COLUMN md.audit_log.route IS 'Template, as /api/v1/bars/{id}; empty where none matched';

COMMENT ON COLUMN md.audit_log.target IS 'Path without its query, or channel and instruments';

COMMENT ON COLUMN md.audit_log.status IS 'How it ended, as HTTP says it';

COMMENT ON COLUMN md.audit_log.bytes IS 'Size of the answer';

COMMENT ON COLUMN md.audit_log.ms IS 'How long it took, ms';

COMMENT ON COLUMN md.audit_log.trace_id IS 'Same as in the answer and the log';

CREATE TABLE md.bars_1m (
    instrument_id integer NOT NULL,
    source_id smallint NOT NULL,
    timeframe text NOT NULL COLLATE pg_catalog."C",
    open_time timestamp with time zone NOT NULL,
    close_time timestamp with time zone NOT NULL,
    open double precision NOT NULL,
    high double precision NOT NULL,
    low double precision NOT NULL,
    close double precision NOT NULL,
    volume double precision NOT NULL,
    quote_volume double precision,
    trade_count bigint,
    taker_buy_volume double precision,
    taker_buy_quote_volume double precision,
    is_closed boolean NOT NULL,
    revision bigint NOT NULL,
    known_at timestamp with time zone NOT NULL,
    known_at_ns smallint NOT NULL,
    CONSTRAINT timeframe CHECK ((timeframe = '1m'::text))
)
PARTITION BY RANGE (open_time);

COMMENT ON TABLE md.bars_1m IS 'Bars of a minute, every revision: readers take the latest';

COMMENT ON COLUMN md.bars_1m.instrument_id IS 'md.instruments';

COMMENT ON COLUMN md.bars_1m.source_id IS 'md.sources';

COMMENT ON COLUMN md.bars_1m.timeframe IS 'Length of the bar';

COMMENT ON COLUMN md.bars_1m.open_time IS 'Start, inclusive, UTC';

COMMENT ON COLUMN md.bars_1m.close_time IS 'End, exclusive, UTC';

COMMENT ON COLUMN md.bars_1m.open IS 'Price of the first trade, quote currency';

COMMENT ON COLUMN md.bars_1m.high IS 'Highest price, quote currency';

COMMENT ON COLUMN md.bars_1m.low IS 'Lowest price, quote currency';

COMMENT ON COLUMN md.bars_1m.close IS 'Price of the last trade, quote currency';

COMMENT ON COLUMN md.bars_1m.volume IS 'Amount traded, base currency';

COMMENT ON COLUMN md.bars_1m.quote_volume IS 'Value traded, quote currency; null where unknown';

COMMENT ON COLUMN md.bars_1m.trade_count IS 'Number of trades; null where unknown';

COMMENT ON COLUMN md.bars_1m.taker_buy_volume IS 'Volume whose aggressor bought, base currency; null where unknown';

COMMENT ON COLUMN md.bars_1m.taker_buy_quote_volume IS 'Value whose aggressor bought, quote currency; null where unknown';

COMMENT ON COLUMN md.bars_1m.is_closed IS 'False while the period still ran when this revision was made';

COMMENT ON COLUMN md.bars_1m.revision IS '0 at first sight, +1 for every change of content';

COMMENT ON COLUMN md.bars_1m.known_at IS 'When this content was first known, UTC, µs';

COMMENT ON COLUMN md.bars_1m.known_at_ns IS 'Nanoseconds of known_at within its µs, 0 to 999';

CREATE TABLE md.bars_1s (
    instrument_id integer NOT NULL,
    source_id smallint NOT NULL,
    timeframe text NOT NULL COLLATE pg_catalog."C",
    open_time timestamp with time zone NOT NULL,
    close_time timestamp with time zone NOT NULL,
    open double precision NOT NULL,
    high double precision NOT NULL,
    low double precision NOT NULL,
    close double precision NOT NULL,
    volume double precision NOT NULL,
    quote_volume double precision,
    trade_count bigint,
    taker_buy_volume double precision,
    taker_buy_quote_volume double precision,
    is_closed boolean NOT NULL,
    revision bigint NOT NULL,
    known_at timestamp with time zone NOT NULL,
    known_at_ns smallint NOT NULL,
    CONSTRAINT timeframe CHECK ((timeframe = '1s'::text))
)
PARTITION BY RANGE (open_time);

COMMENT ON TABLE md.bars_1s IS 'Bars of a second, every revision: readers take the latest';

COMMENT ON COLUMN md.bars_1s.instrument_id IS 'md.instruments';

COMMENT ON COLUMN md.bars_1s.source_id IS 'md.sources';

COMMENT ON COLUMN md.bars_1s.timeframe IS 'Length of the bar';

COMMENT ON COLUMN md.bars_1s.open_time IS 'Start, inclusive, UTC';

COMMENT ON COLUMN md.bars_1s.close_time IS 'End, exclusive, UTC';

COMMENT ON COLUMN md.bars_1s.open IS 'Price of the first trade, quote currency';

COMMENT ON COLUMN md.bars_1s.high IS 'Highest price, quote currency';

COMMENT ON COLUMN md.bars_1s.low IS 'Lowest price, quote currency';

COMMENT ON COLUMN md.bars_1s.close IS 'Price of the last trade, quote currency';

COMMENT ON COLUMN md.bars_1s.volume IS 'Amount traded, base currency';

COMMENT ON COLUMN md.bars_1s.quote_volume IS 'Value traded, quote currency; null where unknown';

COMMENT ON COLUMN md.bars_1s.trade_count IS 'Number of trades; null where unknown';

COMMENT ON COLUMN md.bars_1s.taker_buy_volume IS 'Volume whose aggressor bought, base currency; null where unknown';

COMMENT ON COLUMN md.bars_1s.taker_buy_quote_volume IS 'Value whose aggressor bought, quote currency; null where unknown';

COMMENT ON COLUMN md.bars_1s.is_closed IS 'False while the period still ran when this revision was made';

COMMENT ON COLUMN md.bars_1s.revision IS '0 at first sight, +1 for every change of content';

COMMENT ON COLUMN md.bars_1s.known_at IS 'When this content was first known, UTC, µs';

COMMENT ON COLUMN md.bars_1s.known_at_ns IS 'Nanoseconds of known_at within its µs, 0 to 999';

CREATE TABLE md.bars_daily (
    instrument_id integer NOT NULL,
    source_id smallint NOT NULL,
    timeframe text NOT NULL COLLATE pg_catalog."C",
    open_time timestamp with time zone NOT NULL,
    close_time timestamp with time zone NOT NULL,
    open double precision NOT NULL,
    high double precision NOT NULL,
    low double precision NOT NULL,
    close double precision NOT NULL,
    volume double precision NOT NULL,
    quote_volume double precision,
    trade_count bigint,
    taker_buy_volume double precision,
    taker_buy_quote_volume double precision,
    is_closed boolean NOT NULL,
    revision bigint NOT NULL,
    known_at timestamp with time zone NOT NULL,
    known_at_ns smallint NOT NULL,
    CONSTRAINT timeframe CHECK ((timeframe = ANY (ARRAY['1d'::text, '1w'::text, '1M'::text])))
)
PARTITION BY RANGE (open_time);

COMMENT ON TABLE md.bars_daily IS 'Bars of a day, a week and a month, every revision: readers take the latest';

COMMENT ON COLUMN md.bars_daily.instrument_id IS 'md.instruments';

COMMENT ON COLUMN md.bars_daily.source_id IS 'md.sources';

COMMENT ON COLUMN md.bars_daily.timeframe IS 'Length of the bar';

COMMENT ON COLUMN md.bars_daily.open_time IS 'Start, inclusive, UTC';

COMMENT ON COLUMN md.bars_daily.close_time IS 'End, exclusive, UTC';

COMMENT ON COLUMN md.bars_daily.open IS 'Price of the first trade, quote currency';

COMMENT ON COLUMN md.bars_daily.high IS 'Highest price, quote currency';

COMMENT ON COLUMN md.bars_daily.low IS 'Lowest price, quote currency';

COMMENT ON COLUMN md.bars_daily.close IS 'Price of the last trade, quote currency';

COMMENT ON COLUMN md.bars_daily.volume IS 'Amount traded, base currency';

COMMENT ON COLUMN md.bars_daily.quote_volume IS 'Value traded, quote currency; null where unknown';

COMMENT ON COLUMN md.bars_daily.trade_count IS 'Number of trades; null where unknown';

COMMENT ON COLUMN md.bars_daily.taker_buy_volume IS 'Volume whose aggressor bought, base currency; null where unknown';

COMMENT ON COLUMN md.bars_daily.taker_buy_quote_volume IS 'Value whose aggressor bought, quote currency; null where unknown';

COMMENT ON COLUMN md.bars_daily.is_closed IS 'False while the period still ran when this revision was made';

COMMENT ON COLUMN md.bars_daily.revision IS '0 at first sight, +1 for every change of content';

COMMENT ON COLUMN md.bars_daily.known_at IS 'When this content was first known, UTC, µs';

COMMENT ON COLUMN md.bars_daily.known_at_ns IS 'Nanoseconds of known_at within its µs, 0 to 999';

CREATE TABLE md.bars_intraday (
    instrument_id integer NOT NULL,
    source_id smallint NOT NULL,
    timeframe text NOT NULL COLLATE pg_catalog."C",
    open_time timestamp with time zone NOT NULL,
    close_time timestamp with time zone NOT NULL,
    open double precision NOT NULL,
    high double precision NOT NULL,
    low double precision NOT NULL,
    close double precision NOT NULL,
    volume double precision NOT NULL,
    quote_volume double precision,
    trade_count bigint,
    taker_buy_volume double precision,
    taker_buy_quote_volume double precision,
    is_closed boolean NOT NULL,
    revision bigint NOT NULL,
    known_at timestamp with time zone NOT NULL,
    known_at_ns smallint NOT NULL,
    CONSTRAINT timeframe CHECK ((timeframe = ANY (ARRAY['5m'::text, '15m'::text, '30m'::text, '1h'::text, '4h'::text])))
)
PARTITION BY RANGE (open_time);

COMMENT ON TABLE md.bars_intraday IS 'Bars of 5m to 4h, every revision: readers take the latest';

COMMENT ON COLUMN md.bars_intraday.instrument_id IS 'md.instruments';

COMMENT ON COLUMN md.bars_intraday.source_id IS 'md.sources';

COMMENT ON COLUMN md.bars_intraday.timeframe IS 'Length of the bar';

COMMENT ON COLUMN md.bars_intraday.open_time IS 'Start, inclusive, UTC';

COMMENT ON COLUMN md.bars_intraday.close_time IS 'End, exclusive, UTC';

COMMENT ON COLUMN md.bars_intraday.open IS 'Price of the first trade, quote currency';

COMMENT ON COLUMN md.bars_intraday.high IS 'Highest price, quote currency';

COMMENT ON COLUMN md.bars_intraday.low IS 'Lowest price, quote currency';

COMMENT ON COLUMN md.bars_intraday.close IS 'Price of the last trade, quote currency';

COMMENT ON COLUMN md.bars_intraday.volume IS 'Amount traded, base currency';

COMMENT ON COLUMN md.bars_intraday.quote_volume IS 'Value traded, quote currency; null where unknown';

COMMENT ON COLUMN md.bars_intraday.trade_count IS 'Number of trades; null where unknown';

COMMENT ON COLUMN md.bars_intraday.taker_buy_volume IS 'Volume whose aggressor bought, base currency; null where unknown';

COMMENT ON COLUMN md.bars_intraday.taker_buy_quote_volume IS 'Value whose aggressor bought, quote currency; null where unknown';

COMMENT ON COLUMN md.bars_intraday.is_closed IS 'False while the period still ran when this revision was made';

COMMENT ON COLUMN md.bars_intraday.revision IS '0 at first sight, +1 for every change of content';

COMMENT ON COLUMN md.bars_intraday.known_at IS 'When this content was first known, UTC, µs';

COMMENT ON COLUMN md.bars_intraday.known_at_ns IS 'Nanoseconds of known_at within its µs, 0 to 999';

CREATE VIEW md.bars AS
 SELECT bars_1s.instrument_id,
    bars_1s.source_id,
    bars_1s.timeframe,
    bars_1s.open_time,
    bars_1s.close_time,
    bars_1s.open,
    bars_1s.high,
    bars_1s.low,
    bars_1s.close,
    bars_1s.volume,
    bars_1s.quote_volume,
    bars_1s.trade_count,
    bars_1s.taker_buy_volume,
    bars_1s.taker_buy_quote_volume,
    bars_1s.is_closed,
    bars_1s.revision,
    bars_1s.known_at,
    bars_1s.known_at_ns
   FROM md.bars_1s
UNION ALL
 SELECT bars_1m.instrument_id,
    bars_1m.source_id,
    bars_1m.timeframe,
    bars_1m.open_time,
    bars_1m.close_time,
    bars_1m.open,
    bars_1m.high,
    bars_1m.low,
    bars_1m.close,
    bars_1m.volume,
    bars_1m.quote_volume,
    bars_1m.trade_count,
    bars_1m.taker_buy_volume,
    bars_1m.taker_buy_quote_volume,
    bars_1m.is_closed,
    bars_1m.revision,
    bars_1m.known_at,
    bars_1m.known_at_ns
   FROM md.bars_1m
UNION ALL
 SELECT bars_intraday.instrument_id,
    bars_intraday.source_id,
    bars_intraday.timeframe,
    bars_intraday.open_time,
    bars_intraday.close_time,
    bars_intraday.open,
    bars_intraday.high,
    bars_intraday.low,
    bars_intraday.close,
    bars_intraday.volume,
    bars_intraday.quote_volume,
    bars_intraday.trade_count,
    bars_intraday.taker_buy_volume,
    bars_intraday.taker_buy_quote_volume,
    bars_intraday.is_closed,
    bars_intraday.revision,
    bars_intraday.known_at,
    bars_intraday.known_at_ns
   FROM md.bars_intraday
UNION ALL
 SELECT bars_daily.instrument_id,
    bars_daily.source_id,
    bars_daily.timeframe,
    bars_daily.open_time,
    bars_daily.close_time,
    bars_daily.open,
    bars_daily.high,
    bars_daily.low,
    bars_daily.close,
    bars_daily.volume,
    bars_daily.quote_volume,
    bars_daily.trade_count,
    bars_daily.taker_buy_volume,
    bars_daily.taker_buy_quote_volume,
    bars_daily.is_closed,
    bars_daily.revision,
    bars_daily.known_at,
    bars_daily.known_at_ns
   FROM md.bars_daily;

COMMENT ON VIEW md.bars IS 'Bars of all timeframes, every revision';

COMMENT ON COLUMN md.bars.instrument_id IS 'md.instruments';

COMMENT ON COLUMN md.bars.source_id IS 'md.sources';

COMMENT ON COLUMN md.bars.timeframe IS 'Length of the bar';

COMMENT ON COLUMN md.bars.open_time IS 'Start, inclusive, UTC';

COMMENT ON COLUMN md.bars.close_time IS 'End, exclusive, UTC';

COMMENT ON COLUMN md.bars.open IS 'Price of the first trade, quote currency';

COMMENT ON COLUMN md.bars.high IS 'Highest price, quote currency';

COMMENT ON COLUMN md.bars.low IS 'Lowest price, quote currency';

COMMENT ON COLUMN md.bars.close IS 'Price of the last trade, quote currency';

COMMENT ON COLUMN md.bars.volume IS 'Amount traded, base currency';

COMMENT ON COLUMN md.bars.quote_volume IS 'Value traded, quote currency; null where unknown';

COMMENT ON COLUMN md.bars.trade_count IS 'Number of trades; null where unknown';

COMMENT ON COLUMN md.bars.taker_buy_volume IS 'Volume whose aggressor bought, base currency; null where unknown';

COMMENT ON COLUMN md.bars.taker_buy_quote_volume IS 'Value whose aggressor bought, quote currency; null where unknown';

COMMENT ON COLUMN md.bars.is_closed IS 'False while the period still ran when this revision was made';

COMMENT ON COLUMN md.bars.revision IS '0 at first sight, +1 for every change of content';

COMMENT ON COLUMN md.bars.known_at IS 'When this content was first known, UTC, µs';

COMMENT ON COLUMN md.bars.known_at_ns IS 'Nanoseconds of known_at within its µs, 0 to 999';

CREATE TABLE md.books (
    instrument_id integer NOT NULL,
    source_id smallint NOT NULL,
    ts_event timestamp with time zone NOT NULL,
    ts_received timestamp with time zone NOT NULL,
    ts_event_ns smallint NOT NULL,
    ts_received_ns smallint NOT NULL,
    sequence bigint NOT NULL,
    bid_prices double precision[] NOT NULL,
    bid_sizes double precision[] NOT NULL,
    ask_prices double precision[] NOT NULL,
    ask_sizes double precision[] NOT NULL
)
PARTITION BY RANGE (ts_event);

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

CREATE TABLE md.corporate_actions (
    instrument text NOT NULL COLLATE pg_catalog."C",
    ex_date date NOT NULL,
    kind text NOT NULL COLLATE pg_catalog."C",
    value double precision,
    known_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT corporate_actions_kind_check CHECK ((kind = ANY (ARRAY['split'::text, 'dividend'::text]))),
    CONSTRAINT corporate_actions_value_check CHECK (((value > (0)::double precision) AND (value < 'Infinity'::double precision)))
);

COMMENT ON TABLE md.corporate_actions IS 'Splits and dividends of instruments, each state of them';

COMMENT ON COLUMN md.corporate_actions.instrument IS 'Canonical id';

COMMENT ON COLUMN md.corporate_actions.ex_date IS 'First day, UTC, on which the share is traded without it';

COMMENT ON COLUMN md.corporate_actions.kind IS 'split or dividend';

COMMENT ON COLUMN md.corporate_actions.value IS 'Split: new shares for an old one; dividend: cash for a share, currency of its price; null: withdrawn';

COMMENT ON COLUMN md.corporate_actions.known_at IS 'Since when this is known here, UTC';

CREATE TABLE md.instruments (
    instrument_id integer NOT NULL,
    id text NOT NULL COLLATE pg_catalog."C",
    universe text NOT NULL COLLATE pg_catalog."C",
    native text NOT NULL,
    registered_at timestamp with time zone DEFAULT now() NOT NULL,
    base text GENERATED ALWAYS AS (split_part(split_part(id, ':'::text, 2), '-'::text, 1)) STORED,
    quote text GENERATED ALWAYS AS (NULLIF(NULLIF(split_part(split_part(id, ':'::text, 2), '-'::text, 2), ''::text), 'PERP'::text)) STORED,
    name text DEFAULT ''::text NOT NULL,
    asset_class text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    status text DEFAULT 'active'::text NOT NULL COLLATE pg_catalog."C",
    listed_at timestamp with time zone,
    delisted_at timestamp with time zone,
    tick_size double precision,
    lot_size double precision,
    CONSTRAINT instruments_lot_size_check CHECK ((lot_size > (0)::double precision)),
    CONSTRAINT instruments_status_check CHECK ((status = ANY (ARRAY['active'::text, 'delisted'::text]))),
    CONSTRAINT instruments_tick_size_check CHECK ((tick_size > (0)::double precision))
);

COMMENT ON TABLE md.instruments IS 'Everything that is known to trade';

COMMENT ON COLUMN md.instruments.instrument_id IS 'Number that rows carry';

COMMENT ON COLUMN md.instruments.id IS 'Canonical id, venue:BASE-QUOTE';

COMMENT ON COLUMN md.instruments.universe IS 'Universe that claims it; empty where a feed met it first';

COMMENT ON COLUMN md.instruments.native IS 'The venue''s own symbol; empty where unknown';

COMMENT ON COLUMN md.instruments.registered_at IS 'When it was first seen, UTC';

COMMENT ON COLUMN md.instruments.base IS 'What is traded';

COMMENT ON COLUMN md.instruments.quote IS 'What it is paid in; null where the id does not say, as of stocks';

COMMENT ON COLUMN md.instruments.name IS 'In words; empty where nobody gave one';

COMMENT ON COLUMN md.instruments.asset_class IS 'crypto, perpetual, stock, forex, ...; empty: what the id suggests';

COMMENT ON COLUMN md.instruments.tags IS 'Words to find it by';

COMMENT ON COLUMN md.instruments.status IS 'active or delisted; what is delisted keeps its data';

COMMENT ON COLUMN md.instruments.listed_at IS 'When it began to trade, UTC; null where unknown';

COMMENT ON COLUMN md.instruments.delisted_at IS 'When it ceased to trade, UTC; null while it trades';

COMMENT ON COLUMN md.instruments.tick_size IS 'Smallest step of its price, quote currency; null where unknown';

COMMENT ON COLUMN md.instruments.lot_size IS 'Smallest step of its amount, base currency; null where unknown';

ALTER TABLE md.instruments ALTER COLUMN instrument_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME md.instruments_instrument_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE md.jobs (
    id text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    owner text NOT NULL COLLATE pg_catalog."C",
    request jsonb NOT NULL,
    state text DEFAULT 'queued'::text NOT NULL,
    done bigint DEFAULT 0 NOT NULL,
    total bigint DEFAULT 0 NOT NULL,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL,
    error text,
    is_unwanted boolean DEFAULT false NOT NULL,
    attempts smallint DEFAULT 0 NOT NULL,
    worker text,
    seen_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    expires_at timestamp with time zone,
    CONSTRAINT jobs_kind_check CHECK ((kind = ANY (ARRAY['export'::text, 'backfill'::text]))),
    CONSTRAINT jobs_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'done'::text, 'failed'::text, 'cancelled'::text, 'expired'::text])))
);

COMMENT ON TABLE md.jobs IS 'Exports and backfills that were asked for by the API';

COMMENT ON COLUMN md.jobs.id IS 'What requests call it';

COMMENT ON COLUMN md.jobs.kind IS 'export or backfill';

COMMENT ON COLUMN md.jobs.owner IS 'Principal that asked';

COMMENT ON COLUMN md.jobs.request IS 'What was asked';

COMMENT ON COLUMN md.jobs.state IS 'queued, running, done, failed, cancelled or expired';

COMMENT ON COLUMN md.jobs.done IS 'How much of total, in what the kind counts';

COMMENT ON COLUMN md.jobs.total IS 'How much there is to do; 0 where that is not known yet';

COMMENT ON COLUMN md.jobs.detail IS 'What the kind tells: files, runs, problems';

COMMENT ON COLUMN md.jobs.error IS 'Why it failed, or failed the last time';

COMMENT ON COLUMN md.jobs.is_unwanted IS 'Somebody asked to cancel it';

COMMENT ON COLUMN md.jobs.attempts IS 'How often it was begun since it last got on';

COMMENT ON COLUMN md.jobs.worker IS 'Process that has it';

COMMENT ON COLUMN md.jobs.seen_at IS 'When that process, or a failed attempt, was last heard of, UTC';

COMMENT ON COLUMN md.jobs.created_at IS 'When it was asked for, UTC';

COMMENT ON COLUMN md.jobs.started_at IS 'When work on it first began, UTC';

COMMENT ON COLUMN md.jobs.finished_at IS 'When it ended, UTC';

COMMENT ON COLUMN md.jobs.expires_at IS 'When its files are removed, UTC; null: it has none';

CREATE VIEW md.latest_bars AS
 SELECT DISTINCT ON (instrument_id, timeframe, open_time, source_id) instrument_id,
    source_id,
    timeframe,
    open_time,
    close_time,
    open,
    high,
    low,
    close,
    volume,
    quote_volume,
    trade_count,
    taker_buy_volume,
    taker_buy_quote_volume,
    is_closed,
    revision,
    known_at,
    known_at_ns
   FROM md.bars
  ORDER BY instrument_id, timeframe, open_time, source_id, revision DESC;

COMMENT ON VIEW md.latest_bars IS 'Bars of all timeframes, the latest revision of each';

COMMENT ON COLUMN md.latest_bars.instrument_id IS 'md.instruments';

COMMENT ON COLUMN md.latest_bars.source_id IS 'md.sources';

COMMENT ON COLUMN md.latest_bars.timeframe IS 'Length of the bar';

COMMENT ON COLUMN md.latest_bars.open_time IS 'Start, inclusive, UTC';

COMMENT ON COLUMN md.latest_bars.close_time IS 'End, exclusive, UTC';

COMMENT ON COLUMN md.latest_bars.open IS 'Price of the first trade, quote currency';

COMMENT ON COLUMN md.latest_bars.high IS 'Highest price, quote currency';

COMMENT ON COLUMN md.latest_bars.low IS 'Lowest price, quote currency';

COMMENT ON COLUMN md.latest_bars.close IS 'Price of the last trade, quote currency';

COMMENT ON COLUMN md.latest_bars.volume IS 'Amount traded, base currency';

COMMENT ON COLUMN md.latest_bars.quote_volume IS 'Value traded, quote currency; null where unknown';

COMMENT ON COLUMN md.latest_bars.trade_count IS 'Number of trades; null where unknown';

COMMENT ON COLUMN md.latest_bars.taker_buy_volume IS 'Volume whose aggressor bought, base currency; null where unknown';

COMMENT ON COLUMN md.latest_bars.taker_buy_quote_volume IS 'Value whose aggressor bought, quote currency; null where unknown';

COMMENT ON COLUMN md.latest_bars.is_closed IS 'False while the period still ran when this revision was made';

COMMENT ON COLUMN md.latest_bars.revision IS '0 at first sight, +1 for every change of content';

COMMENT ON COLUMN md.latest_bars.known_at IS 'When this content was first known, UTC, µs';

COMMENT ON COLUMN md.latest_bars.known_at_ns IS 'Nanoseconds of known_at within its µs, 0 to 999';

CREATE TABLE md.live_tables (
    name text NOT NULL,
    time_column text NOT NULL,
    step interval NOT NULL,
    series text,
    ordering text
);

COMMENT ON TABLE md.live_tables IS 'The tables that are cut by time, and how';

COMMENT ON COLUMN md.live_tables.name IS 'Table in schema md';

COMMENT ON COLUMN md.live_tables.time_column IS 'The time that decides the partition or chunk';

COMMENT ON COLUMN md.live_tables.step IS 'Length of a partition or chunk; old data leave the store in such steps';

COMMENT ON COLUMN md.live_tables.series IS 'Columns whose values are compressed together; null: never compressed';

COMMENT ON COLUMN md.live_tables.ordering IS 'Order of the rows in compressed batches';

CREATE TABLE md.migrations (
    number integer NOT NULL,
    name text NOT NULL,
    variant text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE md.migrations IS 'What of sql/migrations was applied';

COMMENT ON COLUMN md.migrations.number IS 'Number of the file';

COMMENT ON COLUMN md.migrations.name IS 'Name of the file';

COMMENT ON COLUMN md.migrations.variant IS 'plain or timescale: decided at the first one, for good';

COMMENT ON COLUMN md.migrations.sha256 IS 'Of the text that was applied, with Unix line ends';

COMMENT ON COLUMN md.migrations.applied_at IS 'When, UTC';

CREATE TABLE md.partition_status (
    dataset text NOT NULL COLLATE pg_catalog."C",
    instrument text NOT NULL COLLATE pg_catalog."C",
    date date NOT NULL,
    status text NOT NULL,
    rows bigint NOT NULL,
    bytes bigint NOT NULL,
    first_time timestamp with time zone,
    last_time timestamp with time zone,
    source text,
    sha256 text,
    score double precision,
    evidence jsonb DEFAULT '{}'::jsonb NOT NULL,
    run_id text,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT partition_status_bytes_check CHECK ((bytes >= 0)),
    CONSTRAINT partition_status_rows_check CHECK ((rows >= 0)),
    CONSTRAINT partition_status_score_check CHECK (((score >= (0)::double precision) AND (score <= (1)::double precision))),
    CONSTRAINT partition_status_status_check CHECK ((status = ANY (ARRAY['ok'::text, 'degraded'::text, 'failed'::text, 'missing'::text, 'pending'::text, 'closed'::text])))
);

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

COMMENT ON COLUMN md.partition_status.changed_at IS 'When its content last changed, UTC; updated_at is when it was last looked at';

CREATE TABLE md.quarantined_messages (
    received_at timestamp with time zone NOT NULL,
    received_at_ns smallint NOT NULL,
    venue text NOT NULL COLLATE pg_catalog."C",
    feed text NOT NULL,
    reason text NOT NULL,
    message bytea NOT NULL
)
PARTITION BY RANGE (received_at);

COMMENT ON TABLE md.quarantined_messages IS 'What venues sent and no rule accepted: malformed, unknown, or a rejected value';

COMMENT ON COLUMN md.quarantined_messages.received_at IS 'When this platform received it, UTC, µs';

COMMENT ON COLUMN md.quarantined_messages.received_at_ns IS 'Nanoseconds of received_at within its µs, 0 to 999';

COMMENT ON COLUMN md.quarantined_messages.venue IS 'The venue''s id';

COMMENT ON COLUMN md.quarantined_messages.feed IS 'The venue''s feed';

COMMENT ON COLUMN md.quarantined_messages.reason IS 'Why it was not accepted, led by the name of the rule where one rejected it';

COMMENT ON COLUMN md.quarantined_messages.message IS 'The bytes as they were received';

CREATE TABLE md.quotes (
    instrument_id integer NOT NULL,
    source_id smallint NOT NULL,
    ts_event timestamp with time zone NOT NULL,
    ts_received timestamp with time zone NOT NULL,
    ts_event_ns smallint NOT NULL,
    ts_received_ns smallint NOT NULL,
    bid double precision NOT NULL,
    bid_size double precision NOT NULL,
    ask double precision NOT NULL,
    ask_size double precision NOT NULL,
    sequence bigint NOT NULL,
    quality double precision NOT NULL
)
PARTITION BY RANGE (ts_event);

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

CREATE VIEW md.rolled_1m AS
 SELECT DISTINCT ON (instrument_id, source_id, open_time) instrument_id,
    source_id,
    open_time,
    open,
    high,
    low,
    close,
    volume,
    quote_volume,
    trade_count,
    taker_buy_volume,
    taker_buy_quote_volume,
    is_closed,
    revision,
    known_at
   FROM md.bars_1m
  ORDER BY instrument_id, source_id, open_time, revision DESC;

COMMENT ON VIEW md.rolled_1m IS 'The latest revision of each bar of a minute';

COMMENT ON COLUMN md.rolled_1m.instrument_id IS 'md.instruments';

COMMENT ON COLUMN md.rolled_1m.source_id IS 'md.sources';

COMMENT ON COLUMN md.rolled_1m.open_time IS 'Start, inclusive, UTC';

COMMENT ON COLUMN md.rolled_1m.open IS 'Price of the first trade, quote currency';

COMMENT ON COLUMN md.rolled_1m.high IS 'Highest price, quote currency';

COMMENT ON COLUMN md.rolled_1m.low IS 'Lowest price, quote currency';

COMMENT ON COLUMN md.rolled_1m.close IS 'Price of the last trade, quote currency';

COMMENT ON COLUMN md.rolled_1m.volume IS 'Amount traded, base currency';

COMMENT ON COLUMN md.rolled_1m.quote_volume IS 'Value traded, quote currency; null where unknown';

COMMENT ON COLUMN md.rolled_1m.trade_count IS 'Number of trades; null where unknown';

COMMENT ON COLUMN md.rolled_1m.taker_buy_volume IS 'Volume whose aggressor bought, base currency; null where unknown';

COMMENT ON COLUMN md.rolled_1m.taker_buy_quote_volume IS 'Value whose aggressor bought, quote currency; null where unknown';

COMMENT ON COLUMN md.rolled_1m.is_closed IS 'False while the period still ran when this revision was made';

COMMENT ON COLUMN md.rolled_1m.revision IS '0 at first sight, +1 for every change of content';

COMMENT ON COLUMN md.rolled_1m.known_at IS 'When this content was first known, UTC, µs';

CREATE VIEW md.rolled_1h AS
 SELECT instrument_id,
    source_id,
    date_trunc('hour'::text, open_time, 'UTC'::text) AS open_time,
    (array_agg(open ORDER BY rolled_1m.open_time))[1] AS open,
    max(high) AS high,
    min(low) AS low,
    (array_agg(close ORDER BY rolled_1m.open_time DESC))[1] AS close,
    sum(volume) AS volume,
        CASE
            WHEN (count(quote_volume) = count(*)) THEN sum(quote_volume)
            ELSE NULL::double precision
        END AS quote_volume,
        CASE
            WHEN (count(trade_count) = count(*)) THEN (sum(trade_count))::bigint
            ELSE NULL::bigint
        END AS trade_count,
        CASE
            WHEN (count(taker_buy_volume) = count(*)) THEN sum(taker_buy_volume)
            ELSE NULL::double precision
        END AS taker_buy_volume,
        CASE
            WHEN (count(taker_buy_quote_volume) = count(*)) THEN sum(taker_buy_quote_volume)
            ELSE NULL::double precision
        END AS taker_buy_quote_volume,
    bool_and(is_closed) AS is_closed,
    (sum(revision))::bigint AS revision,
    max(known_at) AS known_at
   FROM md.rolled_1m
  GROUP BY instrument_id, source_id, (date_trunc('hour'::text, open_time, 'UTC'::text));

COMMENT ON VIEW md.rolled_1h IS 'Bars of an hour rolled up from rolled_1m';

COMMENT ON COLUMN md.rolled_1h.instrument_id IS 'md.instruments';

COMMENT ON COLUMN md.rolled_1h.source_id IS 'md.sources';

COMMENT ON COLUMN md.rolled_1h.open_time IS 'Start, inclusive, UTC';

COMMENT ON COLUMN md.rolled_1h.open IS 'Price of the first trade, quote currency';

COMMENT ON COLUMN md.rolled_1h.high IS 'Highest price, quote currency';

COMMENT ON COLUMN md.rolled_1h.low IS 'Lowest price, quote currency';

COMMENT ON COLUMN md.rolled_1h.close IS 'Price of the last trade, quote currency';

COMMENT ON COLUMN md.rolled_1h.volume IS 'Amount traded, base currency';

COMMENT ON COLUMN md.rolled_1h.quote_volume IS 'Value traded, quote currency; null where unknown';

COMMENT ON COLUMN md.rolled_1h.trade_count IS 'Number of trades; null where unknown';

COMMENT ON COLUMN md.rolled_1h.taker_buy_volume IS 'Volume whose aggressor bought, base currency; null where unknown';

COMMENT ON COLUMN md.rolled_1h.taker_buy_quote_volume IS 'Value whose aggressor bought, quote currency; null where unknown';

COMMENT ON COLUMN md.rolled_1h.is_closed IS 'False while the period still ran when this revision was made';

COMMENT ON COLUMN md.rolled_1h.revision IS '0 at first sight, +1 for every change of content';

COMMENT ON COLUMN md.rolled_1h.known_at IS 'When this content was first known, UTC, µs';

CREATE VIEW md.rolled_1d AS
 SELECT instrument_id,
    source_id,
    date_trunc('day'::text, open_time, 'UTC'::text) AS open_time,
    (array_agg(open ORDER BY rolled_1h.open_time))[1] AS open,
    max(high) AS high,
    min(low) AS low,
    (array_agg(close ORDER BY rolled_1h.open_time DESC))[1] AS close,
    sum(volume) AS volume,
        CASE
            WHEN (count(quote_volume) = count(*)) THEN sum(quote_volume)
            ELSE NULL::double precision
        END AS quote_volume,
        CASE
            WHEN (count(trade_count) = count(*)) THEN (sum(trade_count))::bigint
            ELSE NULL::bigint
        END AS trade_count,
        CASE
            WHEN (count(taker_buy_volume) = count(*)) THEN sum(taker_buy_volume)
            ELSE NULL::double precision
        END AS taker_buy_volume,
        CASE
            WHEN (count(taker_buy_quote_volume) = count(*)) THEN sum(taker_buy_quote_volume)
            ELSE NULL::double precision
        END AS taker_buy_quote_volume,
    bool_and(is_closed) AS is_closed,
    (sum(revision))::bigint AS revision,
    max(known_at) AS known_at
   FROM md.rolled_1h
  GROUP BY instrument_id, source_id, (date_trunc('day'::text, open_time, 'UTC'::text));

COMMENT ON VIEW md.rolled_1d IS 'Bars of a day rolled up from rolled_1h';

COMMENT ON COLUMN md.rolled_1d.instrument_id IS 'md.instruments';

COMMENT ON COLUMN md.rolled_1d.source_id IS 'md.sources';

COMMENT ON COLUMN md.rolled_1d.open_time IS 'Start, inclusive, UTC';

COMMENT ON COLUMN md.rolled_1d.open IS 'Price of the first trade, quote currency';

COMMENT ON COLUMN md.rolled_1d.high IS 'Highest price, quote currency';

COMMENT ON COLUMN md.rolled_1d.low IS 'Lowest price, quote currency';

COMMENT ON COLUMN md.rolled_1d.close IS 'Price of the last trade, quote currency';

COMMENT ON COLUMN md.rolled_1d.volume IS 'Amount traded, base currency';

COMMENT ON COLUMN md.rolled_1d.quote_volume IS 'Value traded, quote currency; null where unknown';

COMMENT ON COLUMN md.rolled_1d.trade_count IS 'Number of trades; null where unknown';

COMMENT ON COLUMN md.rolled_1d.taker_buy_volume IS 'Volume whose aggressor bought, base currency; null where unknown';

COMMENT ON COLUMN md.rolled_1d.taker_buy_quote_volume IS 'Value whose aggressor bought, quote currency; null where unknown';

COMMENT ON COLUMN md.rolled_1d.is_closed IS 'False while the period still ran when this revision was made';

COMMENT ON COLUMN md.rolled_1d.revision IS '0 at first sight, +1 for every change of content';

COMMENT ON COLUMN md.rolled_1d.known_at IS 'When this content was first known, UTC, µs';

CREATE TABLE md.sources (
    source_id smallint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C"
);

COMMENT ON TABLE md.sources IS 'Where live rows came from: a venue''s id, or id@host where its endpoint was overridden; of bars, venue (its own candles) or trades (aggregated from its trades)';

COMMENT ON COLUMN md.sources.source_id IS 'Number that rows carry';

COMMENT ON COLUMN md.sources.name IS 'Name that readers see as source';

CREATE VIEW md.rolled_bars AS
 SELECT rolled.instrument_id,
    rolled.source_id,
    instruments.id AS instrument,
    rolled.timeframe,
    rolled.open_time,
    (rolled.open_time + rolled.length) AS close_time,
    rolled.open,
    rolled.high,
    rolled.low,
    rolled.close,
    rolled.volume,
    rolled.quote_volume,
        CASE
            WHEN (rolled.volume > (0)::double precision) THEN (rolled.quote_volume / rolled.volume)
            ELSE NULL::double precision
        END AS vwap,
    rolled.trade_count,
    rolled.taker_buy_volume,
    rolled.taker_buy_quote_volume,
    (rolled.is_closed AND ((rolled.open_time + rolled.length) <= now())) AS is_closed,
    sources.name AS source,
    rolled.revision,
    rolled.known_at
   FROM ((( SELECT '1m'::text AS timeframe,
            '00:01:00'::interval AS length,
            rolled_1m.instrument_id,
            rolled_1m.source_id,
            rolled_1m.open_time,
            rolled_1m.open,
            rolled_1m.high,
            rolled_1m.low,
            rolled_1m.close,
            rolled_1m.volume,
            rolled_1m.quote_volume,
            rolled_1m.trade_count,
            rolled_1m.taker_buy_volume,
            rolled_1m.taker_buy_quote_volume,
            rolled_1m.is_closed,
            rolled_1m.revision,
            rolled_1m.known_at
           FROM md.rolled_1m
        UNION ALL
         SELECT '1h'::text AS timeframe,
            '01:00:00'::interval AS length,
            rolled_1h.instrument_id,
            rolled_1h.source_id,
            rolled_1h.open_time,
            rolled_1h.open,
            rolled_1h.high,
            rolled_1h.low,
            rolled_1h.close,
            rolled_1h.volume,
            rolled_1h.quote_volume,
            rolled_1h.trade_count,
            rolled_1h.taker_buy_volume,
            rolled_1h.taker_buy_quote_volume,
            rolled_1h.is_closed,
            rolled_1h.revision,
            rolled_1h.known_at
           FROM md.rolled_1h
        UNION ALL
         SELECT '1d'::text AS timeframe,
            '24:00:00'::interval AS length,
            rolled_1d.instrument_id,
            rolled_1d.source_id,
            rolled_1d.open_time,
            rolled_1d.open,
            rolled_1d.high,
            rolled_1d.low,
            rolled_1d.close,
            rolled_1d.volume,
            rolled_1d.quote_volume,
            rolled_1d.trade_count,
            rolled_1d.taker_buy_volume,
            rolled_1d.taker_buy_quote_volume,
            rolled_1d.is_closed,
            rolled_1d.revision,
            rolled_1d.known_at
           FROM md.rolled_1d) rolled
     JOIN md.instruments USING (instrument_id))
     JOIN md.sources USING (source_id));

COMMENT ON VIEW md.rolled_bars IS 'Bars of 1m (latest revision), and of 1h and 1d rolled up from them, in the columns of every bar';

COMMENT ON COLUMN md.rolled_bars.instrument_id IS 'md.instruments';

COMMENT ON COLUMN md.rolled_bars.source_id IS 'md.sources';

COMMENT ON COLUMN md.rolled_bars.instrument IS 'Canonical id, venue:BASE-QUOTE';

COMMENT ON COLUMN md.rolled_bars.timeframe IS 'Length of the bar';

COMMENT ON COLUMN md.rolled_bars.open_time IS 'Start, inclusive, UTC';

COMMENT ON COLUMN md.rolled_bars.close_time IS 'End, exclusive, UTC';

COMMENT ON COLUMN md.rolled_bars.open IS 'Price of the first trade, quote currency';

COMMENT ON COLUMN md.rolled_bars.high IS 'Highest price, quote currency';

COMMENT ON COLUMN md.rolled_bars.low IS 'Lowest price, quote currency';

COMMENT ON COLUMN md.rolled_bars.close IS 'Price of the last trade, quote currency';

COMMENT ON COLUMN md.rolled_bars.volume IS 'Amount traded, base currency';

COMMENT ON COLUMN md.rolled_bars.quote_volume IS 'Value traded, quote currency; null where unknown';

COMMENT ON COLUMN md.rolled_bars.vwap IS 'quote_volume / volume, quote currency; null without volume or quote_volume';

COMMENT ON COLUMN md.rolled_bars.trade_count IS 'Number of trades; null where unknown';

COMMENT ON COLUMN md.rolled_bars.taker_buy_volume IS 'Volume whose aggressor bought, base currency; null where unknown';

COMMENT ON COLUMN md.rolled_bars.taker_buy_quote_volume IS 'Value whose aggressor bought, quote currency; null where unknown';

COMMENT ON COLUMN md.rolled_bars.is_closed IS 'False while the period still ran when this revision was made';

COMMENT ON COLUMN md.rolled_bars.source IS 'Name in md.sources';

COMMENT ON COLUMN md.rolled_bars.revision IS '0 at first sight, +1 for every change of content';

COMMENT ON COLUMN md.rolled_bars.known_at IS 'When this content was first known, UTC, µs';

ALTER TABLE md.sources ALTER COLUMN source_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME md.sources_source_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE md.spool_progress (
    spool uuid NOT NULL,
    last_row bigint NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE md.spool_progress IS 'How far each spool is stored, committed together with the rows';

COMMENT ON COLUMN md.spool_progress.spool IS 'The spool''s own id';

COMMENT ON COLUMN md.spool_progress.last_row IS 'Last row of the spool that is stored';

COMMENT ON COLUMN md.spool_progress.updated_at IS 'When it was stored, UTC';

CREATE TABLE md.trades (
    instrument_id integer NOT NULL,
    source_id smallint NOT NULL,
    taker_side smallint NOT NULL,
    ts_event timestamp with time zone NOT NULL,
    ts_received timestamp with time zone NOT NULL,
    ts_event_ns smallint NOT NULL,
    ts_received_ns smallint NOT NULL,
    trade_count integer NOT NULL,
    trade_id bigint NOT NULL,
    price double precision NOT NULL,
    size double precision NOT NULL,
    quality double precision NOT NULL,
    sent_late boolean NOT NULL,
    trade_key text NOT NULL COLLATE pg_catalog."C",
    CONSTRAINT trades_taker_side_check CHECK ((taker_side = ANY (ARRAY['-1'::integer, 0, 1])))
)
PARTITION BY RANGE (ts_event);

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

COMMENT ON COLUMN md.trades.price IS 'Quote currency';

COMMENT ON COLUMN md.trades.size IS 'Base currency';

COMMENT ON COLUMN md.trades.quality IS 'Score from 0 to 1';

COMMENT ON COLUMN md.trades.sent_late IS 'From before the subscription: some venues send the last trades on subscribing';

COMMENT ON COLUMN md.trades.trade_key IS 'The venue''s id where it is text; empty where trade_id holds it';

CREATE TABLE md.venue_events (
    at timestamp with time zone NOT NULL,
    at_ns smallint NOT NULL,
    kind text NOT NULL COLLATE pg_catalog."C",
    venue text NOT NULL COLLATE pg_catalog."C",
    feed text NOT NULL,
    connection text NOT NULL,
    cause text NOT NULL,
    affected_from timestamp with time zone,
    affected_from_ns smallint,
    affected_to timestamp with time zone,
    affected_to_ns smallint,
    channels text[] NOT NULL,
    instruments text[] NOT NULL,
    first_missing bigint,
    last_missing bigint,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL
)
PARTITION BY RANGE (at);

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

ALTER TABLE ONLY md.alert_rules
    ADD CONSTRAINT alert_rules_pkey PRIMARY KEY (id);

ALTER TABLE ONLY md.alerts_fired
    ADD CONSTRAINT alerts_fired_pkey PRIMARY KEY (id);

ALTER TABLE ONLY md.alerts_fired
    ADD CONSTRAINT alerts_fired_rule_id_entry_key UNIQUE (rule_id, entry);

ALTER TABLE ONLY md.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY md.corporate_actions
    ADD CONSTRAINT corporate_actions_pkey PRIMARY KEY (instrument, ex_date, kind, known_at);

ALTER TABLE ONLY md.instruments
    ADD CONSTRAINT instruments_id_key UNIQUE (id);

ALTER TABLE ONLY md.instruments
    ADD CONSTRAINT instruments_pkey PRIMARY KEY (instrument_id);

ALTER TABLE ONLY md.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY md.live_tables
    ADD CONSTRAINT live_tables_pkey PRIMARY KEY (name);

ALTER TABLE ONLY md.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (number);

ALTER TABLE ONLY md.partition_status
    ADD CONSTRAINT partition_status_pkey PRIMARY KEY (dataset, instrument, date);

ALTER TABLE ONLY md.sources
    ADD CONSTRAINT sources_name_key UNIQUE (name);

ALTER TABLE ONLY md.sources
    ADD CONSTRAINT sources_pkey PRIMARY KEY (source_id);

ALTER TABLE ONLY md.spool_progress
    ADD CONSTRAINT spool_progress_pkey PRIMARY KEY (spool);

CREATE INDEX alert_rules_by_owner ON md.alert_rules USING btree (owner, created_at);

CREATE INDEX alerts_fired_by_owner ON md.alerts_fired USING btree (owner, id);

CREATE INDEX alerts_unpublished ON md.alerts_fired USING btree (id) WHERE (NOT is_published);

CREATE INDEX alerts_webhooks_waiting ON md.alerts_fired USING btree (webhook_next_at) WHERE (webhook_state = 'waiting'::text);

CREATE INDEX audit_log_by_principal ON md.audit_log USING btree (principal, at);

CREATE INDEX audit_log_by_time ON md.audit_log USING brin (at);

CREATE UNIQUE INDEX bars_1m_instrument_id_timeframe_open_time_source_id_revisio_idx ON ONLY md.bars_1m USING btree (instrument_id, timeframe, open_time, source_id, revision);

CREATE UNIQUE INDEX bars_1s_instrument_id_timeframe_open_time_source_id_revisio_idx ON ONLY md.bars_1s USING btree (instrument_id, timeframe, open_time, source_id, revision);

CREATE UNIQUE INDEX bars_daily_instrument_id_timeframe_open_time_source_id_revi_idx ON ONLY md.bars_daily USING btree (instrument_id, timeframe, open_time, source_id, revision);

CREATE UNIQUE INDEX bars_intraday_instrument_id_timeframe_open_time_source_id_r_idx ON ONLY md.bars_intraday USING btree (instrument_id, timeframe, open_time, source_id, revision);

CREATE INDEX books_instrument_id_ts_event_idx ON ONLY md.books USING btree (instrument_id, ts_event);

CREATE INDEX jobs_by_owner ON md.jobs USING btree (kind, owner, created_at);

CREATE INDEX jobs_to_do ON md.jobs USING btree (created_at) WHERE (state = ANY (ARRAY['queued'::text, 'running'::text]));

CREATE INDEX partition_status_by_status ON md.partition_status USING btree (status, dataset) WHERE (status = ANY (ARRAY['failed'::text, 'missing'::text, 'degraded'::text]));

CREATE INDEX quarantined_messages_venue_received_at_idx ON ONLY md.quarantined_messages USING btree (venue, received_at);

CREATE INDEX quotes_instrument_id_ts_event_idx ON ONLY md.quotes USING btree (instrument_id, ts_event);

CREATE UNIQUE INDEX trades_instrument_id_ts_event_trade_id_trade_key_source_id_idx ON ONLY md.trades USING btree (instrument_id, ts_event, trade_id, trade_key, source_id);

CREATE INDEX venue_events_at_idx ON ONLY md.venue_events USING btree (at);

CREATE INDEX venue_events_venue_at_idx ON ONLY md.venue_events USING btree (venue, at);

ALTER TABLE ONLY md.corporate_actions
    ADD CONSTRAINT corporate_actions_instrument_fkey FOREIGN KEY (instrument) REFERENCES md.instruments(id);
