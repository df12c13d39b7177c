-- How far logs were trimmed. Messages may be kept longer than other events, so each has a mark of its own.

-- No event of the session but messages is older; null while it has none.
ALTER TABLE sessions ADD COLUMN events_from TEXT;
UPDATE sessions SET events_from = log_from;
CREATE INDEX sessions_events_from ON sessions (tenant_id, events_from);

-- The last event that was removed because of its age, pieces of messages aside.
ALTER TABLE sessions ADD COLUMN trimmed_to INTEGER NOT NULL DEFAULT 0;
