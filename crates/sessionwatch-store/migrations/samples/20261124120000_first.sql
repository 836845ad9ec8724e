-- What a store holds that the first migration made.
INSERT INTO looks (id, target, taken_at, duration_us, verdict, report) VALUES (1, 'app', 1, 1, 'failing', '{}');
INSERT INTO alerts (target, check_id, state, looks, clear, since, told, stale, acknowledged_by, note, severity, summary, updated_at)
VALUES ('app', 'duplicate-tokens', 'firing', 0, 0, 5, 5, 0, 'ada', 'on it', 'critical', '1 token', 7),
       ('app', 'blind', 'ok', 0, 0, NULL, NULL, 0, NULL, NULL, 'high', 'seen', 7);
INSERT INTO silences (id, target, check_id, until, owner, note) VALUES (1, 'app', NULL, 9, 'ada', 'quiet');
INSERT INTO outbox (id, idempotency_key, channel, message, created_at, next_at) VALUES (1, 'k', 'chat', '{}', 5, 5);
INSERT INTO audit (id, at, actor, action, detail, previous, hash)
VALUES (1, 7, 'ada', 'silence', '{}', '', '2efc3a6bb77b62fe51e145075b7636b4650ff555a019730cf00e815d2af71a6a');
