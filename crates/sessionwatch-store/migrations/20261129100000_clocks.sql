-- When deadlines were set: one that was set in the future was set by a clock that was ahead.

ALTER TABLE outbox ADD COLUMN set_at BIGINT NOT NULL DEFAULT 0;
UPDATE outbox SET set_at = created_at;

ALTER TABLE silences ADD COLUMN begun_at BIGINT NOT NULL DEFAULT 0;

-- The latest instant that has certainly passed, by which retention goes.
CREATE TABLE confirmed_time (
  id INTEGER PRIMARY KEY,
  at BIGINT NOT NULL
);
