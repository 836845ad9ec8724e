-- Stored words become the standard terms. The audit trail keeps its words: each entry is hashed with the one before it.
-- In JSON, a quoted name with its colon is a key: within a text the quote would be escaped.

-- Reports are made again by the next run.
DELETE FROM reports;

-- Only a custom check could have one of the new ids.
DELETE FROM alerts WHERE check_id IN ('token-reassigned', 'reappeared-sessions', 'target-unreachable', 'channel-failing', 'slow-check-run', 'log-source-idle', 'log-user-conflict');
UPDATE alerts SET check_id = CASE check_id
  WHEN 'token-rebound' THEN 'token-reassigned'
  WHEN 'revived-sessions' THEN 'reappeared-sessions'
  WHEN 'blind' THEN 'target-unreachable'
  WHEN 'undelivered' THEN 'channel-failing'
  WHEN 'slow-observation' THEN 'slow-check-run'
  WHEN 'log-silence' THEN 'log-source-idle'
  WHEN 'log-table-mismatch' THEN 'log-user-conflict'
  ELSE check_id END
WHERE check_id IN ('token-rebound', 'revived-sessions', 'blind', 'undelivered', 'slow-observation', 'log-silence', 'log-table-mismatch');
UPDATE events SET check_id = CASE check_id
  WHEN 'token-rebound' THEN 'token-reassigned'
  WHEN 'revived-sessions' THEN 'reappeared-sessions'
  WHEN 'blind' THEN 'target-unreachable'
  WHEN 'undelivered' THEN 'channel-failing'
  WHEN 'slow-observation' THEN 'slow-check-run'
  WHEN 'log-silence' THEN 'log-source-idle'
  WHEN 'log-table-mismatch' THEN 'log-user-conflict'
  ELSE check_id END
WHERE check_id IN ('token-rebound', 'revived-sessions', 'blind', 'undelivered', 'slow-observation', 'log-silence', 'log-table-mismatch');
UPDATE silences SET check_id = CASE check_id
  WHEN 'token-rebound' THEN 'token-reassigned'
  WHEN 'revived-sessions' THEN 'reappeared-sessions'
  WHEN 'blind' THEN 'target-unreachable'
  WHEN 'undelivered' THEN 'channel-failing'
  WHEN 'slow-observation' THEN 'slow-check-run'
  WHEN 'log-silence' THEN 'log-source-idle'
  WHEN 'log-table-mismatch' THEN 'log-user-conflict'
  ELSE check_id END
WHERE check_id IN ('token-rebound', 'revived-sessions', 'blind', 'undelivered', 'slow-observation', 'log-silence', 'log-table-mismatch');

UPDATE alerts SET state = 'resolved' WHERE state = 'ok';
UPDATE alerts SET verdict = 'passing' WHERE verdict = 'healthy';
UPDATE alerts SET finding = REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(finding,
  '"signals":', '"log_events":'),
  '"seen_at":', '"recorded_at":'),
  '"fit":', '"match_kind":'),
  '"joined":', '"correlated":'),
  '"by_chance":', '"coincidences":'),
  '"skew_us":', '"clock_offset_us":')
WHERE finding IS NOT NULL;

UPDATE events SET summary = 'passing: ' || SUBSTR(summary, 10) WHERE kind = 'verdict' AND summary LIKE 'healthy: %';
UPDATE events SET kind = CASE kind WHEN 'verdict' THEN 'result' ELSE 'reminder' END WHERE kind IN ('verdict', 'repeated');
UPDATE events SET detail = REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(detail,
  '"before":"healthy"', '"before":"passing"'),
  '"after":"healthy"', '"after":"passing"'),
  '"signals":', '"log_events":'),
  '"seen_at":', '"recorded_at":'),
  '"fit":', '"match_kind":'),
  '"joined":', '"correlated":'),
  '"by_chance":', '"coincidences":'),
  '"skew_us":', '"clock_offset_us":');

UPDATE outbox SET message = REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(message,
  '"check":"token-rebound"', '"check":"token-reassigned"'),
  '"check":"revived-sessions"', '"check":"reappeared-sessions"'),
  '"check":"blind"', '"check":"target-unreachable"'),
  '"check":"undelivered"', '"check":"channel-failing"'),
  '"check":"slow-observation"', '"check":"slow-check-run"'),
  '"check":"log-silence"', '"check":"log-source-idle"'),
  '"check":"log-table-mismatch"', '"check":"log-user-conflict"'),
  '"notice":"repeated"', '"notice":"reminder"'),
  '"again":', '"possible_duplicate":'),
  '"schema":1,', '"schema":2,'),
  '"signals":', '"log_events":'),
  '"seen_at":', '"recorded_at":'),
  '"fit":', '"match_kind":'),
  '"joined":', '"correlated":'),
  '"by_chance":', '"coincidences":'),
  '"skew_us":', '"clock_offset_us":');
UPDATE outbox SET subject = SUBSTR(subject, 1, LENGTH(subject) - 13) || 'token-reassigned' WHERE subject LIKE '%/token-rebound';
UPDATE outbox SET subject = SUBSTR(subject, 1, LENGTH(subject) - 16) || 'reappeared-sessions' WHERE subject LIKE '%/revived-sessions';
UPDATE outbox SET subject = SUBSTR(subject, 1, LENGTH(subject) - 5) || 'target-unreachable' WHERE subject LIKE '%/blind';
UPDATE outbox SET subject = SUBSTR(subject, 1, LENGTH(subject) - 11) || 'channel-failing' WHERE subject LIKE '%/undelivered';
UPDATE outbox SET subject = SUBSTR(subject, 1, LENGTH(subject) - 16) || 'slow-check-run' WHERE subject LIKE '%/slow-observation';
UPDATE outbox SET subject = SUBSTR(subject, 1, LENGTH(subject) - 11) || 'log-source-idle' WHERE subject LIKE '%/log-silence';
UPDATE outbox SET subject = SUBSTR(subject, 1, LENGTH(subject) - 18) || 'log-user-conflict' WHERE subject LIKE '%/log-table-mismatch';

UPDATE censuses SET gauges = REPLACE(REPLACE(gauges,
  '"rebound":', '"reassigned":'),
  '"revived":', '"reappeared":');
UPDATE signals SET joined = REPLACE(REPLACE(joined,
  '"by_chance":', '"coincidences":'),
  '"skew_us":', '"clock_offset_us":')
WHERE joined IS NOT NULL;
UPDATE log_sources SET counters = REPLACE(counters, '"signals/', '"log_events/');
UPDATE plans SET about = REPLACE(about, '"agent_like":', '"user_agent_like":');

UPDATE incident_entries SET kind = CASE kind WHEN 'look' THEN 'check-run' WHEN 'found' THEN 'detected' ELSE 'log-event' END
WHERE kind IN ('look', 'found', 'signal');
-- Details of steps hold whole reports.
UPDATE incident_entries SET detail = REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(detail,
  '"census":', '"stats":'),
  '"taken_at":', '"checked_at":'),
  '"verdict":"healthy"', '"result":"passing"'),
  '"verdict":', '"result":'),
  '"schema":1,', '"schema":2,'),
  '"id":"token-rebound"', '"id":"token-reassigned"'),
  '"id":"revived-sessions"', '"id":"reappeared-sessions"'),
  '"id":"slow-observation"', '"id":"slow-check-run"');
