-- What the program with reasons wrote: a result that is unknown.
INSERT INTO alerts (target, check_id, state, looks, clear, since, told, stale, severity, summary, updated_at, verdict, finding, unknown_reason)
VALUES ('shop', 'orphaned-sessions', 'resolved', 0, 0, NULL, NULL, 0, 'high', 'none', 7, 'unknown', NULL, 'the users cannot be read');
