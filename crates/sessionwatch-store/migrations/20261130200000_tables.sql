-- Tables get the names of what a row of them is, and ids that were given once are never given again.

ALTER TABLE censuses RENAME TO samples;
ALTER TABLE reports RENAME TO latest_reports;
ALTER TABLE ledgers RENAME TO snapshots;
ALTER TABLE snapshots RENAME COLUMN ledger TO snapshot;
ALTER TABLE planned RENAME TO plan_chunks;
ALTER TABLE archived RENAME TO archive_batches;
ALTER TABLE incident_entries RENAME TO timeline_entries;
ALTER TABLE signals RENAME TO log_events;
ALTER TABLE log_entries RENAME TO drain_entries;
ALTER TABLE logins RENAME TO login_sessions;
ALTER TABLE tokens RENAME TO api_tokens;
ALTER TABLE answers RENAME TO keyed_requests;

-- SQLite cannot rename an index.
DROP INDEX archived_plan;
DROP INDEX archived_state;
DROP INDEX incident_entries_incident;
DROP INDEX signals_seen;
DROP INDEX signals_prefix;
DROP INDEX signals_judged;
DROP INDEX signals_age;
DROP INDEX log_entries_at;
DROP INDEX logins_account;
DROP INDEX tokens_account;
CREATE INDEX archive_batches_plan ON archive_batches (plan, id);
CREATE INDEX archive_batches_state ON archive_batches (state, target);
CREATE INDEX timeline_entries_incident ON timeline_entries (incident, id);
CREATE INDEX log_events_seen ON log_events (target, kind, seen_at);
CREATE INDEX log_events_prefix ON log_events (target, prefix);
CREATE INDEX log_events_judged ON log_events (judged, target, id);
CREATE INDEX log_events_age ON log_events (seen_at);
CREATE INDEX drain_entries_at ON drain_entries (at);
CREATE INDEX login_sessions_account ON login_sessions (account);
CREATE INDEX api_tokens_account ON api_tokens (account);

-- A step of incidents. The audit log keeps its words: each entry is hashed with the one before it.
UPDATE timeline_entries SET step = 'rollback' WHERE step = 'way-back';

-- The last id given in each table, also to rows that were deleted since.
CREATE TABLE id_counters (
  name TEXT PRIMARY KEY,
  last_id BIGINT NOT NULL
);
INSERT INTO id_counters (name, last_id)
SELECT 'archive_batches', COALESCE(MAX(id), 0) FROM archive_batches
UNION ALL SELECT 'attestations', COALESCE(MAX(id), 0) FROM attestations
UNION ALL SELECT 'audit', COALESCE(MAX(id), 0) FROM audit
UNION ALL SELECT 'drills', COALESCE(MAX(id), 0) FROM drills
UNION ALL SELECT 'events', COALESCE(MAX(id), 0) FROM events
UNION ALL SELECT 'log_events', COALESCE(MAX(id), 0) FROM log_events
UNION ALL SELECT 'outbox', COALESCE(MAX(id), 0) FROM outbox
UNION ALL SELECT 'silences', COALESCE(MAX(id), 0) FROM silences
UNION ALL SELECT 'timeline_entries', COALESCE(MAX(id), 0) FROM timeline_entries;

-- Sessions that sessionwatch restored, which did not reappear by themselves.
CREATE TABLE restores (
  id BIGINT PRIMARY KEY,
  target TEXT NOT NULL,
  at BIGINT NOT NULL,
  -- Fingerprints of the sessions, 8 bytes each; they mean nothing without the key.
  fingerprints BYTEA NOT NULL
);
CREATE INDEX restores_target ON restores (target, at);
