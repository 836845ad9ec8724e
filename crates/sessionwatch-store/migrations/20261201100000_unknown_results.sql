-- Why the last result is unknown. NULL if it is known, or if the check only describes the run.
ALTER TABLE alerts ADD COLUMN unknown_reason TEXT;
-- Until the next run: a target with an unknown result must not be called healthy.
UPDATE alerts SET unknown_reason = 'the check has not run since the last update' WHERE verdict = 'unknown';
