-- runner.db, schema version 4: runs that give way and are started again.
-- How the attempts before the present one (run.attempt) ended. What each left is among the artifacts, below "attempts/N/".
CREATE TABLE attempt (
  run     INTEGER NOT NULL REFERENCES run(seq) ON DELETE CASCADE,
  number  INTEGER NOT NULL,
  started INTEGER,
  ended   INTEGER NOT NULL,
  reason  TEXT NOT NULL,
  PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;

-- The GPUs that the present attempt was given: a JSON list of ids; NULL: none. A daemon that takes over gives them to
-- nobody else.
ALTER TABLE run ADD COLUMN gpus TEXT;
-- It was asked to end: as cancelled, or (`runner run fail`) as failed. Stays, whatever its status becomes after that.
ALTER TABLE run ADD COLUMN asked_to_end TEXT CHECK (asked_to_end IN ('cancel', 'fail'));
