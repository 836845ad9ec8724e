-- Incidents: emergencies, with everything that was done, and drills.

CREATE TABLE incidents (
  id TEXT PRIMARY KEY,
  target TEXT NOT NULL,
  severity TEXT NOT NULL,
  -- open, contained or closed.
  state TEXT NOT NULL,
  opened_at BIGINT NOT NULL,
  opened_by TEXT NOT NULL,
  contained_at BIGINT,
  closed_at BIGINT,
  -- What the report says besides, as JSON.
  fields TEXT NOT NULL
);

-- What happened, in order; no token is in it.
CREATE TABLE incident_entries (
  id BIGINT PRIMARY KEY,
  incident TEXT NOT NULL,
  at BIGINT NOT NULL,
  actor TEXT NOT NULL,
  kind TEXT NOT NULL,
  -- The step that it is about, if it is about one.
  step TEXT NOT NULL,
  said TEXT NOT NULL,
  -- The rest, as JSON.
  detail TEXT NOT NULL
);
CREATE INDEX incident_entries_incident ON incident_entries (incident, id);

-- Drills, and the microseconds that each part took.
CREATE TABLE drills (
  id BIGINT PRIMARY KEY,
  at BIGINT NOT NULL,
  target TEXT NOT NULL,
  actor TEXT NOT NULL,
  detected_us BIGINT NOT NULL,
  contained_us BIGINT NOT NULL,
  verified_us BIGINT NOT NULL
);
