-- The table in which the sessions of each target were recognized: another one is not believed until somebody confirms.

CREATE TABLE layouts (
  target TEXT PRIMARY KEY,
  -- Where the target was then, without a password.
  address TEXT NOT NULL,
  -- What the configuration said about its tables then.
  configured TEXT NOT NULL,
  -- As JSON: the table and its columns.
  layout TEXT NOT NULL,
  at BIGINT NOT NULL,
  -- Who confirmed it; without anybody, it was the first that was recognized.
  confirmed_by TEXT
);
