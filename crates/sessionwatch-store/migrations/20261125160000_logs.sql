-- What the application's logs say: signals, where they were read, and entries of drains that were taken already.

CREATE TABLE signals (
  id BIGINT PRIMARY KEY,
  source TEXT NOT NULL,
  target TEXT NOT NULL,
  -- The kind, or the name of a pattern.
  kind TEXT NOT NULL,
  severity TEXT,
  -- By the log's clock.
  at BIGINT,
  seen_at BIGINT NOT NULL,
  user_id TEXT,
  other_id TEXT,
  prefix TEXT,
  expires_at BIGINT,
  reason TEXT,
  request TEXT,
  byte_from BIGINT NOT NULL,
  byte_to BIGINT NOT NULL,
  -- Without anything that looks like a secret.
  text TEXT NOT NULL,
  -- How it fits the table, by name, and the rest as JSON; nothing where it was not joined.
  fit TEXT,
  joined TEXT,
  judged BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX signals_seen ON signals (target, kind, seen_at);
CREATE INDEX signals_prefix ON signals (target, prefix);
CREATE INDEX signals_judged ON signals (judged, target, id);
CREATE INDEX signals_age ON signals (seen_at);

CREATE TABLE log_sources (
  name TEXT PRIMARY KEY,
  target TEXT NOT NULL,
  -- How far a file was read, as JSON.
  place TEXT,
  heard_at BIGINT,
  rhythm TEXT NOT NULL,
  -- What was read, and what was dropped and why, as JSON.
  counters TEXT NOT NULL
);

CREATE TABLE log_entries (
  source TEXT NOT NULL,
  entry TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (source, entry)
);
CREATE INDEX log_entries_at ON log_entries (at);
