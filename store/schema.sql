-- runner.db: the history of runs. Schema version 1 (PRAGMA user_version); application_id is in history.cpp.
-- Times are microseconds since 1970-01-01 UTC. JSON columns hold what no query filters on; their shapes are in
-- record_json.cpp. "Newest first" is by run.seq, the order of submission: it survives a wall clock that steps back, and every
-- index below ends in it, so a filtered list streams from an index without sorting.

CREATE TABLE experiment (
  id   INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;

-- section: what lists filter and what changes while a run lives; small rows, rewritten on every change of status.
CREATE TABLE run (
  seq             INTEGER PRIMARY KEY,
  id              TEXT NOT NULL UNIQUE,  -- <experiment>_<unix seconds>_<8 hex>
  experiment      INTEGER NOT NULL REFERENCES experiment(id),
  parent          INTEGER REFERENCES run(seq),
  name            TEXT NOT NULL,
  status          TEXT NOT NULL CHECK (status IN ('NotStarted', 'Preparing', 'Queued', 'Starting', 'Running', 'Paused',
                    'CancelRequested', 'Finalizing', 'Completed', 'Failed', 'Canceled')),
  status_reason   TEXT NOT NULL,
  created         INTEGER NOT NULL,
  started         INTEGER,
  ended           INTEGER,
  attempt         INTEGER NOT NULL,
  priority        INTEGER NOT NULL,
  snapshot        BLOB CHECK (length(snapshot) = 32),
  idempotency_key TEXT,
  environment     TEXT NOT NULL,  -- JSON
  outcome         TEXT,           -- JSON; set with the final status
  error           TEXT,           -- JSON
  CHECK ((status IN ('Completed', 'Failed', 'Canceled')) = (ended IS NOT NULL))
) STRICT;
CREATE INDEX run_by_experiment ON run(experiment);
CREATE INDEX run_by_parent ON run(parent);  -- NULL: the top-level runs
CREATE INDEX run_by_status ON run(status);
CREATE INDEX run_by_created ON run(created);
CREATE INDEX run_by_tail ON run(substr(id, -8));
CREATE UNIQUE INDEX run_by_idempotency_key ON run(idempotency_key) WHERE idempotency_key IS NOT NULL;

-- What was asked for and where it came from: written once, beside the row that changes.
CREATE TABLE submission (
  run        INTEGER PRIMARY KEY REFERENCES run(seq) ON DELETE CASCADE,
  digest     BLOB NOT NULL CHECK (length(digest) = 32),  -- of the request's meaning, for the idempotency key
  definition TEXT NOT NULL,  -- JSON
  git        TEXT            -- JSON; NULL: no repository
) STRICT;

CREATE TABLE tag (
  run   INTEGER NOT NULL REFERENCES run(seq) ON DELETE CASCADE,
  key   TEXT NOT NULL,
  value TEXT,
  PRIMARY KEY (run, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_by_key ON tag(key, value, run);

CREATE TABLE property (
  run   INTEGER NOT NULL REFERENCES run(seq) ON DELETE CASCADE,
  key   TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (run, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX property_by_key ON property(key, value, run);

-- section: what a run left behind
-- Names are bytes; contents are in content.db and were durable there before this row.
CREATE TABLE artifact (
  run    INTEGER NOT NULL REFERENCES run(seq) ON DELETE CASCADE,
  name   TEXT NOT NULL,
  bytes  INTEGER NOT NULL,
  sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
  PRIMARY KEY (run, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE notice (
  run    INTEGER NOT NULL REFERENCES run(seq) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  text   TEXT NOT NULL,
  PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;

-- How far the metric journal of a run is in metric_point; moves in the same transaction as the points.
CREATE TABLE journal (
  run    INTEGER PRIMARY KEY REFERENCES run(seq) ON DELETE CASCADE,
  offset INTEGER NOT NULL  -- bytes
) STRICT;

-- The summary is kept up to date with every batch of points: a list never counts a million rows.
CREATE TABLE metric_series (
  id      INTEGER PRIMARY KEY,
  run     INTEGER NOT NULL REFERENCES run(seq) ON DELETE CASCADE,
  name    TEXT NOT NULL,
  count   INTEGER NOT NULL,
  minimum REAL,  -- of the finite numbers
  maximum REAL,
  UNIQUE (run, name)
) STRICT;

CREATE TABLE metric_point (
  series INTEGER NOT NULL REFERENCES metric_series(id) ON DELETE CASCADE,
  number INTEGER NOT NULL,  -- log order, from 0
  step   INTEGER,
  time   INTEGER NOT NULL,
  value  ANY,               -- INTEGER, REAL (infinities included) or TEXT as logged; NULL is NaN, which SQLite cannot hold
  PRIMARY KEY (series, number)
) STRICT, WITHOUT ROWID;

-- section: what can never change, whoever writes
CREATE TRIGGER property_is_immutable BEFORE UPDATE ON property BEGIN
  SELECT RAISE(ABORT, 'the properties of a run cannot be changed');
END;
-- Also what INSERT OR REPLACE would do.
CREATE TRIGGER property_is_written_once BEFORE INSERT ON property
WHEN EXISTS (SELECT 1 FROM property WHERE run = NEW.run AND key = NEW.key) BEGIN
  SELECT RAISE(ABORT, 'the properties of a run cannot be changed');
END;
-- A property goes only with its run (the cascade deletes the run first).
CREATE TRIGGER property_stays BEFORE DELETE ON property WHEN EXISTS (SELECT 1 FROM run WHERE seq = OLD.run) BEGIN
  SELECT RAISE(ABORT, 'the properties of a run cannot be removed');
END;

CREATE TRIGGER submission_is_immutable BEFORE UPDATE ON submission BEGIN
  SELECT RAISE(ABORT, 'what was submitted cannot be changed');
END;

CREATE TRIGGER run_identity_is_immutable
BEFORE UPDATE OF seq, id, experiment, parent, created, snapshot, idempotency_key ON run BEGIN
  SELECT RAISE(ABORT, 'the identity of a run cannot be changed');
END;
-- The display name stays editable.
CREATE TRIGGER final_run_is_immutable
BEFORE UPDATE OF status, status_reason, started, ended, attempt, priority, environment, outcome, error ON run
WHEN OLD.status IN ('Completed', 'Failed', 'Canceled') BEGIN
  SELECT RAISE(ABORT, 'a run that has ended cannot be changed');
END;
