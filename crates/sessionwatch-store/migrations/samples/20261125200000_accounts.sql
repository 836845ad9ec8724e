-- An account, and its log-in without an end of its own.
INSERT INTO accounts (name, role, password, created_at) VALUES ('ada', 'admin', '$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA', 1764080000000000);
INSERT INTO logins (hash, account, created_at, seen_at, address, agent) VALUES ('h1', 'ada', 1764080000000000, 1764080000000000, '127.0.0.1', 'curl');
