-- What each column of the newer tables means, for who reads the database itself.

COMMENT ON COLUMN md.partition_status.changed_at IS 'When its content last changed, UTC; updated_at is when it was last looked at';

COMMENT ON COLUMN md.api_keys.id IS 'The middle of mdp_<id>_<secret>';
COMMENT ON COLUMN md.api_keys.name IS 'Who has it; stands in the audit log';
COMMENT ON COLUMN md.api_keys.secret_hash IS 'argon2; the secret itself is nowhere';
COMMENT ON COLUMN md.api_keys.role IS 'reader, trader or admin';
COMMENT ON COLUMN md.api_keys.scopes IS 'What of the role it may use; empty: all of it';
COMMENT ON COLUMN md.api_keys.tier IS 'free, premium or enterprise: its limits';
COMMENT ON COLUMN md.api_keys.created_at IS 'When it was made, UTC';
COMMENT ON COLUMN md.api_keys.expires_at IS 'When it ceases to be valid, UTC; null: never';
COMMENT ON COLUMN md.api_keys.revoked_at IS 'When it was revoked, UTC; null: it was not';

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
