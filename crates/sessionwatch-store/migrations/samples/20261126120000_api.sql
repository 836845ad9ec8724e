-- Tokens of programs and what those were answered; log-ins that end, an account of a provider, and a plan with a second person.
INSERT INTO tokens (id, hash, account, label, scopes, created_at, expires_at, seen_at)
VALUES ('t1', 'th1', 'ada', 'bot', 'read actions', 1764150000000000, 4102444800000000, NULL);
INSERT INTO answers (token, name, request, at, status, content) VALUES ('t1', 'k1', 'POST /x', 4102444800000000, 201, '{"id":"p3"}');
INSERT INTO accounts (name, role, password, created_at, subject) VALUES ('vic', 'viewer', '', 1764150000000000, 'https://login.example.org 17');
INSERT INTO logins (hash, account, created_at, seen_at, address, agent, expires_at)
VALUES ('h2', 'vic', 1764150000000000, 1764150000000000, '127.0.0.1', 'curl', 4102444800000);
INSERT INTO plans (id, target, address, about, made_at, made_by, touched_at, state, named, active, summary, approved_by)
VALUES ('p3', 'app', 'postgres://db/app', '"all"', 1764150000000000, 'ada', 1764150000000000, 'planned', 9, 9, '{}', 'bo');
