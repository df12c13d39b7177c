-- Turns may wait for the one that runs.

DROP INDEX turns_unfinished;
-- At most one turn of a session runs.
CREATE UNIQUE INDEX turns_running ON turns (session_id) WHERE outcome IS NULL AND status <> 'queued';
CREATE INDEX turns_unfinished ON turns (session_id, id) WHERE outcome IS NULL;
