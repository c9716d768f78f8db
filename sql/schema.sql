-- Written by `make schema` from sql/migrations: change those, then write this again.

CREATE SCHEMA md;

CREATE TABLE md.instruments (
    instrument_id integer NOT NULL,
    id text NOT NULL COLLATE pg_catalog."C",
    universe text NOT NULL COLLATE pg_catalog."C",
    native text NOT NULL,
    registered_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE md.instruments ALTER COLUMN instrument_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME md.instruments_instrument_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE md.migrations (
    number integer NOT NULL,
    name text NOT NULL,
    variant text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

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

ALTER TABLE ONLY md.instruments
    ADD CONSTRAINT instruments_id_key UNIQUE (id);

ALTER TABLE ONLY md.instruments
    ADD CONSTRAINT instruments_pkey PRIMARY KEY (instrument_id);

ALTER TABLE ONLY md.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (number);

ALTER TABLE ONLY md.partition_status
    ADD CONSTRAINT partition_status_pkey PRIMARY KEY (dataset, instrument, date);

CREATE INDEX partition_status_by_status ON md.partition_status USING btree (status, dataset) WHERE (status = ANY (ARRAY['failed'::text, 'missing'::text, 'degraded'::text]));
