-- runner.db, schema version 5: children, lists and tables, parameters, searching, the ledger. The indices of what a migration
-- fills row by row are in tracking_indices.sql: made afterwards, they cost a fifth.

-- Who executes it: we, its parent's script, or the process that it was begun in.
ALTER TABLE run ADD COLUMN kind TEXT NOT NULL DEFAULT 'script' CHECK (kind IN ('script', 'child', 'interactive'));
CREATE INDEX run_by_kind ON run(kind);
CREATE TRIGGER run_kind_is_immutable BEFORE UPDATE OF kind ON run BEGIN
  SELECT RAISE(ABORT, 'the identity of a run cannot be changed');
END;

-- section: metrics of every shape
-- A metric has points (value, list) or rows (row, table), and `count` of them. In metric_point a value that is a file is a
-- BLOB: the JSON of the journal.
ALTER TABLE metric_series ADD COLUMN shape TEXT NOT NULL DEFAULT 'value'
  CHECK (shape IN ('value', 'list', 'row', 'table'));
-- Of the newest point, for lists of runs; NULL: NaN, a file, or a text that is too long to be looked for.
ALTER TABLE metric_series ADD COLUMN last ANY;
ALTER TABLE metric_series ADD COLUMN columns TEXT;  -- JSON list, in the order of their appearance; of rows only
UPDATE metric_series AS s SET last = (SELECT CASE WHEN typeof(p.value) = 'text' AND length(CAST(p.value AS BLOB)) > 256
  THEN NULL ELSE p.value END FROM metric_point p WHERE p.series = s.id AND p.number = s.count - 1);
CREATE INDEX metric_series_by_last ON metric_series(name, last, run);
CREATE INDEX metric_series_by_minimum ON metric_series(name, minimum, run);
CREATE INDEX metric_series_by_maximum ON metric_series(name, maximum, run);

CREATE TABLE metric_row (
  series INTEGER NOT NULL REFERENCES metric_series(id) ON DELETE CASCADE,
  number INTEGER NOT NULL,  -- log order, from 0
  step   INTEGER,
  time   INTEGER NOT NULL,
  cells  TEXT NOT NULL,     -- JSON object, as in the journal; a column that is absent has no value there
  PRIMARY KEY (series, number)
) STRICT, WITHOUT ROWID;

-- section: what runs are looked for by
-- What a run was told: taken from the arguments of its definition (parameters.hpp).
CREATE TABLE parameter (
  run    INTEGER NOT NULL REFERENCES run(seq) ON DELETE CASCADE,
  key    TEXT NOT NULL,
  value  TEXT NOT NULL,
  number ANY,  -- INTEGER or REAL, where the value is one
  PRIMARY KEY (run, key)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER parameter_is_immutable BEFORE UPDATE ON parameter BEGIN
  SELECT RAISE(ABORT, 'what was submitted cannot be changed');
END;

-- The text that a run is found by, and an index of its pieces of three letters. `name` and `tags` are those of run_words as
-- they were last written; `script` (or the command) is of the definition, which does not change. Kept by who writes these:
-- SQLite lets no trigger write to an index of text where schemas are not trusted.
CREATE VIEW run_words(seq, id, name, tags) AS
SELECT r.seq, r.id, r.name,
  coalesce((SELECT group_concat(word, char(10)) FROM (SELECT CASE WHEN t.value IS NULL THEN t.key
    ELSE t.key || '=' || t.value END AS word FROM tag t WHERE t.run = r.seq ORDER BY t.key)), '')
FROM run r;
CREATE VIRTUAL TABLE run_text USING fts5(id, name, script, tags, tokenize = 'trigram');

-- section: the ledger
-- What became of runs, in order; written in the transaction that made it so. `digest` is that of what cannot change of the
-- run (run_digest.hpp), hash = SHA-256(previous || kind || run_id || digest), `previous` the hash of the entry before; of the
-- first it is 32 zero bytes. Of a deleted run the entries are what stays.
CREATE TABLE ledger (
  number   INTEGER PRIMARY KEY,  -- from 1, without gaps
  run_id   TEXT NOT NULL,
  kind     TEXT NOT NULL CHECK (kind IN ('final', 'amended', 'deleted')),
  digest   BLOB NOT NULL CHECK (length(digest) = 32),
  previous BLOB NOT NULL CHECK (length(previous) = 32),
  hash     BLOB NOT NULL CHECK (length(hash) = 32),
  time     INTEGER NOT NULL
) STRICT;
CREATE TRIGGER ledger_is_not_rewritten BEFORE UPDATE ON ledger BEGIN
  SELECT RAISE(ABORT, 'the ledger is only added to');
END;
CREATE TRIGGER ledger_is_not_shortened BEFORE DELETE ON ledger BEGIN
  SELECT RAISE(ABORT, 'the ledger is only added to');
END;
CREATE TRIGGER ledger_is_appended_to BEFORE INSERT ON ledger WHEN EXISTS (SELECT 1 FROM ledger WHERE number >= NEW.number) BEGIN
  SELECT RAISE(ABORT, 'the ledger is only added to');
END;
