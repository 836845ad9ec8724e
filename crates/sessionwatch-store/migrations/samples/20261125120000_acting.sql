-- Plans and sealed batches; rows were named without the fingerprint of their token.
INSERT INTO plans (id, target, address, about, made_at, made_by, touched_at, state, named, active, summary)
VALUES ('p1', 'app', 'postgres://db/app', '"orphaned"', 1764050000000000, 'ada', 1764050001000000, 'done', 1, 1, '{"reason":"orphaned"}'),
       ('p2', 'app', 'postgres://db/app', '{"user":"7"}', 1764050002000000, 'ada', 1764050002000000, 'making', 0, 0, '');
INSERT INTO planned (plan, piece, content)
VALUES ('p1', 1, X'0301000100000000000500000000000000070000000000000009000000000000000300733109006162636465666768020037');
INSERT INTO archived (id, plan, target, state, txid, at, purge_at, recipient, content, fates, sealed)
VALUES (1, 'p1', 'app', 'kept', 771, 1764050001000000, 1766642001000000, 'age1x',
        X'0301000100000000000500000000000000070000000000000009000000000000000300733109006162636465666768020037', X'01', X'6167');
