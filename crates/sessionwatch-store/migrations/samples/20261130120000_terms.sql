-- What the program with the standard terms wrote: a report of the second schema, and an event of each renamed kind.
INSERT INTO reports (target, at, report) VALUES ('app', 1764500000000000, '{"checks":[],"schema":2}');
INSERT INTO events (id, at, target, check_id, kind, summary, detail)
VALUES (91, 1764500000000000, 'shop', 'target-unreachable', 'result', 'passing: reached', '{"after":"passing","before":"failing"}'),
       (92, 1764500000000000, 'shop', 'target-unreachable', 'reminder', 'still unreachable', '{}');
