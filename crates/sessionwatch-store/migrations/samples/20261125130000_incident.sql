-- Incidents with their timelines, and drills.
INSERT INTO incidents (id, target, severity, state, opened_at, opened_by, contained_at, closed_at, fields)
VALUES ('i1', 'app', 'P0', 'contained', 1764060000000000, 'ada', 1764060300000000, NULL, '{"summary":"one token, two users"}'),
       ('i0', 'app', 'P2', 'closed', 1764050000000000, 'bo', NULL, 1764050900000000, '{}');
INSERT INTO incident_entries (id, incident, at, actor, kind, step, said, detail)
VALUES (1, 'i1', 1764060000000000, 'ada', 'opened', '', 'one token, two users', '{}'),
       (2, 'i1', 1764060100000000, 'ada', 'done', 'confirm', '', '{}'),
       (3, 'i1', 1764060300000000, 'ada', 'contained', '', '', '{"plan":"p1"}');
INSERT INTO drills (id, at, target, actor, detected_us, contained_us, verified_us) VALUES (1, 1764060000000000, 'app', 'ada', 10, 20, 30);
