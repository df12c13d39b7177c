-- A file has one server: its sessions are with no other, and nothing needs to be kept of that.

DROP INDEX sessions_leased;
ALTER TABLE sessions DROP COLUMN lease_owner;
ALTER TABLE sessions DROP COLUMN lease_until;
