-- What a turn needs to go on whose server did not live to end it: who pays, and until when it may run.

ALTER TABLE turns ADD COLUMN key_id BLOB;
ALTER TABLE turns ADD COLUMN deadline TEXT;
