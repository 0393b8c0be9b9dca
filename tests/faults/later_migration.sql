-- What only a later release asks of a log.
ALTER TABLE log ADD COLUMN remark text NOT NULL DEFAULT '';
CREATE TABLE later (position bigint PRIMARY KEY);
