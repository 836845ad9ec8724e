-- Who may use the dashboard.

CREATE TABLE accounts (
  name TEXT PRIMARY KEY,
  role TEXT NOT NULL,
  -- Argon2id, as a PHC string.
  password TEXT NOT NULL,
  created_at BIGINT NOT NULL
);

-- Log-ins to the dashboard, by the SHA-256 of their tokens.
CREATE TABLE logins (
  hash TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  seen_at BIGINT NOT NULL,
  address TEXT NOT NULL,
  agent TEXT NOT NULL
);
CREATE INDEX logins_account ON logins (account);
