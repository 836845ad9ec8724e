-- Looks become censuses in three resolutions; verdict changes, first sightings, leases and attestations are kept.

DROP TABLE looks;

-- Gauges of a target as JSON: of one look (resolution 0), or the mean, lowest and highest of so many seconds.
CREATE TABLE censuses (
  target TEXT NOT NULL,
  resolution BIGINT NOT NULL,
  at BIGINT NOT NULL,
  looks BIGINT NOT NULL,
  blind BIGINT NOT NULL,
  gauges TEXT NOT NULL,
  PRIMARY KEY (target, resolution, at)
);

-- The last report of a target, whole.
CREATE TABLE reports (
  target TEXT PRIMARY KEY,
  at BIGINT NOT NULL,
  report TEXT NOT NULL
);

-- What happened: verdicts that changed, alerts that fired or were resolved.
CREATE TABLE events (
  id BIGINT PRIMARY KEY,
  at BIGINT NOT NULL,
  target TEXT NOT NULL,
  check_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  summary TEXT NOT NULL,
  detail TEXT NOT NULL
);
CREATE INDEX events_at ON events (at);

-- The sessions of the last look, by fingerprints that mean nothing without the key.
CREATE TABLE ledgers (
  target TEXT PRIMARY KEY,
  at BIGINT NOT NULL,
  ledger BYTEA NOT NULL
);

CREATE TABLE secrets (
  name TEXT PRIMARY KEY,
  value BIGINT NOT NULL
);

-- Who does what, where several watch together; the term grows with every change of hands.
CREATE TABLE leases (
  name TEXT PRIMARY KEY,
  holder TEXT NOT NULL,
  term BIGINT NOT NULL,
  until BIGINT NOT NULL
);

-- What a person vouches for.
CREATE TABLE attestations (
  id BIGINT PRIMARY KEY,
  at BIGINT NOT NULL,
  target TEXT NOT NULL,
  item TEXT NOT NULL,
  holds BIGINT NOT NULL,
  owner TEXT NOT NULL,
  note TEXT NOT NULL
);

ALTER TABLE alerts ADD COLUMN verdict TEXT;
ALTER TABLE alerts ADD COLUMN finding TEXT;
ALTER TABLE silences ADD COLUMN subject TEXT;
ALTER TABLE silences ADD COLUMN ended_at BIGINT;
ALTER TABLE outbox ADD COLUMN recipient TEXT;
ALTER TABLE outbox ADD COLUMN again BIGINT NOT NULL DEFAULT 0;
-- What it tells of: what is older is told first.
ALTER TABLE outbox ADD COLUMN subject TEXT NOT NULL DEFAULT '';
CREATE INDEX outbox_subject ON outbox (channel, subject, state, id);
CREATE INDEX audit_at ON audit (at);
