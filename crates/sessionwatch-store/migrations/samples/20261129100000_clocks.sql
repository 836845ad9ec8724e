-- A message and a silence that say when their deadlines were set, and the time that has passed.
INSERT INTO outbox (id, idempotency_key, channel, message, created_at, next_at, subject, set_at)
VALUES (9, 'k9', 'chat', '{"notice":"resolved"}', 1764410000000000, 1764410000000000, '', 1764410000000001);
INSERT INTO silences (id, target, check_id, until, owner, note, begun_at) VALUES (9, 'app', NULL, 4102444800000000, 'ada', 'quiet', 1764410000000000);
INSERT INTO confirmed_time (id, at) VALUES (1, 1764410000000000);
