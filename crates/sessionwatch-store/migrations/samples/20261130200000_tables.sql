-- What the program with the named tables wrote: a restore, and a step of an incident.
INSERT INTO restores (id, target, at, fingerprints) VALUES (1, 'app', 1764600000000000, X'0700000000000000feffffffffffffff');
INSERT INTO timeline_entries (id, incident, at, actor, kind, step, said, detail)
VALUES (71, 'i0', 1764600000000000, 'bo', 'done', 'rollback', '', '{}');
UPDATE id_counters SET last_id = 71 WHERE name = 'timeline_entries';
