-- Rules that people are told by, what came of them, and webhooks on their way.

CREATE TABLE md.alert_rules (
    id             text COLLATE "C" PRIMARY KEY,
    owner          text COLLATE "C" NOT NULL,          -- principal
    name           text NOT NULL,
    instrument     text COLLATE "C",                   -- null: of all, where the condition is about feeds
    condition      jsonb NOT NULL,
    severity       text NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    cooldown_s     integer NOT NULL CHECK (cooldown_s >= 0),
    webhook_url    text,
    webhook_secret text,                               -- signs what the webhook gets
    is_enabled     boolean NOT NULL DEFAULT true,
    memory         jsonb NOT NULL DEFAULT '{}',        -- what the evaluator knows: how far it read, on which side
    version        bigint NOT NULL DEFAULT 0,          -- of memory: it is changed by who knows the last one only
    last_fired_at  timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX alert_rules_by_owner ON md.alert_rules (owner, created_at);
COMMENT ON TABLE md.alert_rules IS 'Rules of alerts';

CREATE TABLE md.alerts_fired (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule_id           text COLLATE "C" NOT NULL,
    entry             text COLLATE "C" NOT NULL,       -- what fired it: a rule fires once for it
    owner             text COLLATE "C" NOT NULL,
    name              text NOT NULL,
    instrument        text COLLATE "C",
    severity          text NOT NULL,
    message           text NOT NULL,
    value             double precision,
    at                timestamptz NOT NULL,            -- of what fired it
    fired_at          timestamptz NOT NULL DEFAULT now(),
    is_published      boolean NOT NULL DEFAULT false,  -- Redis has it
    webhook_state     text NOT NULL DEFAULT 'none' CHECK (webhook_state IN ('none', 'waiting', 'delivered', 'dead')),
    webhook_attempts  smallint NOT NULL DEFAULT 0,
    webhook_next_at   timestamptz,
    webhook_error     text,
    UNIQUE (rule_id, entry)
);
CREATE INDEX alerts_fired_by_owner ON md.alerts_fired (owner, id);
CREATE INDEX alerts_unpublished ON md.alerts_fired (id) WHERE NOT is_published;
CREATE INDEX alerts_webhooks_waiting ON md.alerts_fired (webhook_next_at) WHERE webhook_state = 'waiting';
COMMENT ON TABLE md.alerts_fired IS 'Alerts that fired, and whether their webhooks were delivered';
