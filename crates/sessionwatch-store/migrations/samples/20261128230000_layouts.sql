-- The table that was recognized, and one that somebody confirmed.
INSERT INTO layouts (target, address, configured, layout, at, confirmed_by)
VALUES ('app', 'postgres://db/app', '', '{"table":"public.sessions"}', 1764370000000000, NULL),
       ('shop', 'sqlite:shop.db', 'sessions', '{"table":"sessions"}', 1764370000000000, 'ada');
