-- Signals of logs, how far a file was read, and entries of drains.
INSERT INTO signals (id, source, target, kind, severity, at, seen_at, user_id, other_id, prefix, expires_at, reason, request, byte_from, byte_to, text, fit, joined, judged)
VALUES (1, 'web', 'app', 'user-mismatch', 'critical', NULL, 1764070000000000, '8', '9', 'f47ac10b', NULL, NULL, 'iad1::abc', 0, 90, 'mismatch', 'exact', '{"id":"s7"}', 1),
       (2, 'web', 'app', 'created', NULL, 1764070000000000, 1764070001000000, '5', NULL, NULL, NULL, NULL, NULL, 91, 120, 'created', NULL, NULL, 0);
INSERT INTO log_sources (name, target, place, heard_at, rhythm, counters)
VALUES ('web', 'app', '{"device":1,"inode":2,"offset":120}', 1764070001000000, '490019:2 ', '{"lines":2}');
INSERT INTO log_entries (source, entry, at) VALUES ('web', 'e1', 1764070000000000);
