-- PostgreSQL names the indexes of keys after the table, and keeps their names when the table is renamed.

ALTER INDEX censuses_pkey RENAME TO samples_pkey;
ALTER INDEX reports_pkey RENAME TO latest_reports_pkey;
ALTER INDEX ledgers_pkey RENAME TO snapshots_pkey;
ALTER INDEX planned_pkey RENAME TO plan_chunks_pkey;
ALTER INDEX archived_pkey RENAME TO archive_batches_pkey;
ALTER INDEX incident_entries_pkey RENAME TO timeline_entries_pkey;
ALTER INDEX signals_pkey RENAME TO log_events_pkey;
ALTER INDEX log_entries_pkey RENAME TO drain_entries_pkey;
ALTER INDEX logins_pkey RENAME TO login_sessions_pkey;
ALTER INDEX tokens_pkey RENAME TO api_tokens_pkey;
ALTER INDEX tokens_hash_key RENAME TO api_tokens_hash_key;
ALTER INDEX answers_pkey RENAME TO keyed_requests_pkey;
