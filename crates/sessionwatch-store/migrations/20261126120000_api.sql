-- Programs that use the interface, and what they were answered.

CREATE TABLE tokens (
  id TEXT PRIMARY KEY,
  -- The SHA-256 of the token.
  hash TEXT NOT NULL UNIQUE,
  account TEXT NOT NULL,
  label TEXT NOT NULL,
  -- Names, separated by spaces.
  scopes TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  seen_at BIGINT
);
CREATE INDEX tokens_account ON tokens (account);

-- Answers to requests with an idempotency key; without a status while the request is under way.
CREATE TABLE answers (
  token TEXT NOT NULL,
  name TEXT NOT NULL,
  request TEXT NOT NULL,
  at BIGINT NOT NULL,
  status BIGINT,
  content TEXT NOT NULL,
  PRIMARY KEY (token, name)
);

-- The end of a log-in in milliseconds since 1970, so that the table can be watched as any other one.
ALTER TABLE logins ADD COLUMN expires_at BIGINT NOT NULL DEFAULT 0;

-- What happened to a check, by kind; and to a target, the latest first.
CREATE INDEX events_check ON events (target, check_id, kind, at);
CREATE INDEX events_target ON events (target, id);

-- Who an account belongs to at a provider of identities; empty where it has a password.
ALTER TABLE accounts ADD COLUMN subject TEXT NOT NULL DEFAULT '';

-- The second person who agreed to a plan.
ALTER TABLE plans ADD COLUMN approved_by TEXT;
