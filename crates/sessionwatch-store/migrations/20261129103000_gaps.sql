-- Where lines of a source may be missing: the latest gaps, as JSON.

ALTER TABLE log_sources ADD COLUMN gaps TEXT NOT NULL DEFAULT '[]';
