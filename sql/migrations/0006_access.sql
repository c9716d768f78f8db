-- Who may ask, and what they asked.

CREATE TABLE md.api_keys (
    id           text COLLATE "C" PRIMARY KEY,         -- the middle of mdp_<id>_<secret>
    name         text COLLATE "C" NOT NULL,
    secret_hash  text NOT NULL,                        -- argon2; the secret itself is nowhere
    role         text NOT NULL CHECK (role IN ('reader', 'trader', 'admin')),
    scopes       text[] NOT NULL DEFAULT '{}',         -- empty: whatever the role allows
    tier         text NOT NULL CHECK (tier IN ('free', 'premium', 'enterprise')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz
);
COMMENT ON TABLE md.api_keys IS 'API keys, made and revoked by mdp token';

CREATE TABLE md.audit_log (
    at         timestamptz NOT NULL,
    principal  text COLLATE "C",                       -- null: nobody, not authenticated
    address    text NOT NULL,                          -- of the client
    service    text COLLATE "C" NOT NULL,              -- api, gateway
    action     text COLLATE "C" NOT NULL,              -- GET, POST, ..., subscribe, ...
    route      text COLLATE "C" NOT NULL,              -- template, as /api/v1/bars/{id}; '' where none matched
    target     text NOT NULL,                          -- path without its query, or channel
    status     smallint NOT NULL,                      -- as HTTP's
    bytes      bigint NOT NULL,
    ms         double precision NOT NULL,
    trace_id   text COLLATE "C" NOT NULL
);
CREATE INDEX audit_log_by_time ON md.audit_log USING brin (at);
CREATE INDEX audit_log_by_principal ON md.audit_log (principal, at);
COMMENT ON TABLE md.audit_log IS 'Every access to data: who, when, what, how it ended; no secrets';
