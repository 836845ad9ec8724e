-- The memory of the watch: what was seen, what is wrong, what was told and to whom, and who did what.
-- Instants are microseconds since 1970 in UTC. No token is in here, nor any fingerprint of one.

CREATE TABLE looks (
  id INTEGER PRIMARY KEY,
  target TEXT NOT NULL,
  taken_at BIGINT NOT NULL,
  duration_us BIGINT NOT NULL,
  verdict TEXT NOT NULL,
  report TEXT NOT NULL
);
CREATE INDEX looks_target ON looks (target, taken_at);

CREATE TABLE alerts (
  target TEXT NOT NULL,
  check_id TEXT NOT NULL,
  state TEXT NOT NULL,
  looks BIGINT NOT NULL,
  clear BIGINT NOT NULL,
  since BIGINT,
  told BIGINT,
  stale BIGINT NOT NULL,
  acknowledged_by TEXT,
  note TEXT,
  severity TEXT NOT NULL,
  summary TEXT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (target, check_id)
);

CREATE TABLE silences (
  id INTEGER PRIMARY KEY,
  target TEXT,
  check_id TEXT,
  until BIGINT NOT NULL,
  owner TEXT NOT NULL,
  note TEXT NOT NULL
);

-- One row an alert's change and channel, written before anything is sent.
CREATE TABLE outbox (
  id INTEGER PRIMARY KEY,
  idempotency_key TEXT NOT NULL UNIQUE,
  channel TEXT NOT NULL,
  message TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  attempts BIGINT NOT NULL DEFAULT 0,
  next_at BIGINT NOT NULL,
  state TEXT NOT NULL DEFAULT 'due',
  error TEXT
);
CREATE INDEX outbox_due ON outbox (state, next_at);

-- Each entry carries the hash of the one before it.
CREATE TABLE audit (
  id INTEGER PRIMARY KEY,
  at BIGINT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  detail TEXT NOT NULL,
  previous TEXT NOT NULL,
  hash TEXT NOT NULL
);
