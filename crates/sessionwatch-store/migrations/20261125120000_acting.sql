-- Plans, and the sealed rows that they removed or changed.

-- What an action would touch, named before anything is.
CREATE TABLE plans (
  id TEXT PRIMARY KEY,
  target TEXT NOT NULL,
  -- Where the target is, without a password: a plan is for that database, and for no other of the same name.
  address TEXT NOT NULL,
  -- What was asked for, as JSON.
  about TEXT NOT NULL,
  made_at BIGINT NOT NULL,
  made_by TEXT NOT NULL,
  -- When it was worked on last; a plan that was begun may be gone on with for as long as a fresh one.
  touched_at BIGINT NOT NULL,
  -- planned, begun or done.
  state TEXT NOT NULL,
  named BIGINT NOT NULL,
  active BIGINT NOT NULL,
  -- The rest, as JSON.
  summary TEXT NOT NULL
);

-- The rows of a plan, some thousands a piece; no token is in them.
CREATE TABLE planned (
  plan TEXT NOT NULL,
  piece BIGINT NOT NULL,
  content BYTEA NOT NULL,
  PRIMARY KEY (plan, piece)
);

-- Rows that were removed or changed, sealed, a batch a line.
CREATE TABLE archived (
  id BIGINT PRIMARY KEY,
  plan TEXT NOT NULL,
  target TEXT NOT NULL,
  -- pending until it is known that the rows are gone, then kept; restoring while they are put back.
  state TEXT NOT NULL,
  -- The transaction on the target that does it; nothing where those have no numbers.
  txid BIGINT,
  at BIGINT NOT NULL,
  -- When it is removed for good.
  purge_at BIGINT NOT NULL,
  recipient TEXT NOT NULL,
  -- Which rows, as in a plan.
  content BYTEA NOT NULL,
  -- A byte for each row: whether it is still in the archive (1), back in the table (2), or never left it (0).
  fates BYTEA NOT NULL,
  sealed BYTEA NOT NULL
);
CREATE INDEX archived_plan ON archived (plan, id);
CREATE INDEX archived_state ON archived (state, target);
