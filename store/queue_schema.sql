-- runner.db, schema version 3: the order of the queue that people have made.
-- A run's place is by priority, then by position; NULL: run.seq, the order of submission.
ALTER TABLE run ADD COLUMN queue_position REAL;

-- What holds for the whole queue. One row.
CREATE TABLE queue (
  id   INTEGER PRIMARY KEY CHECK (id = 1),
  held INTEGER NOT NULL CHECK (held IN (0, 1))
) STRICT;
INSERT INTO queue(id, held) VALUES (1, 0);
