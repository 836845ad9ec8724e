-- What the second migration's program wrote: rows of its tables, and the columns that it added.
INSERT INTO censuses (target, resolution, at, looks, blind, gauges)
VALUES ('app', 0, 1764000000000000, 1, 0, '{"active":90,"stored":100}'),
       ('app', 0, 1764000060000000, 1, 1, '{}'),
       ('app', 3600, 1764000000000000, 2, 1, '{"active":[90.5,90,91]}');
INSERT INTO reports (target, at, report) VALUES ('app', 1764000060000000, '{"schema":1,"checks":[]}');
INSERT INTO events (id, at, target, check_id, kind, summary, detail)
VALUES (1, 1764000000000000, 'app', 'duplicate-tokens', 'verdict', '1 token', '{"before":"healthy","after":"failing"}'),
       (2, 1764000000000000, 'app', 'duplicate-tokens', 'firing', '1 token on 2 rows', '{}');
INSERT INTO ledgers (target, at, ledger) VALUES ('app', 1764000060000000, X'01ff00');
INSERT INTO secrets (name, value) VALUES ('fingerprint-key', -7);
INSERT INTO leases (name, holder, term, until) VALUES ('app', 'one', 3, 1764000066000000);
INSERT INTO attestations (id, at, target, item, holds, owner, note) VALUES (1, 1764000000000000, 'app', 'user-reports', 0, 'ada', 'two');
INSERT INTO alerts (target, check_id, state, looks, clear, since, told, stale, severity, summary, updated_at, verdict, finding)
VALUES ('app', 'orphaned-sessions', 'pending', 2, 0, 1764000000000000, NULL, 1, 'high', '11 sessions', 1764000060000000, 'failing', '{"value":11}');
INSERT INTO silences (id, target, check_id, until, owner, note, subject, ended_at)
VALUES (2, 'app', 'blind', 4102444800000000, 'bo', 'quiet', 'u7', NULL), (3, 'app', 'blind', 4102444800000000, 'bo', 'over', NULL, 1764000000000000);
INSERT INTO outbox (id, idempotency_key, channel, message, created_at, attempts, next_at, state, error, recipient, again, subject)
VALUES (2, 'k2', 'mail', '{"notice":"firing"}', 1764000000000000, 20, 1764000000000000, 'dead', 'it refuses', 'ada@example.org', 1, 'app duplicate-tokens');
