-- A source with a gap.
INSERT INTO log_sources (name, target, place, heard_at, rhythm, counters, gaps)
VALUES ('nginx', 'app', NULL, NULL, '', '{"gaps":1}', '[{"at_us":1764420000000000,"cause":"truncated","bytes":17}]');
