-- What `runner sql` may read: the views of docs/sql.md, made anew on each of its connections (sql_query.hpp). They are the
-- contract; the tables behind them may change. `inner_` stands for a name that nobody can guess: what is called so may read
-- tables, and the view that is called without it is all of that. Tables are named with their database, so that no name of a
-- query comes between. Times are ISO 8601 in UTC, with microseconds.
--
-- Texts that users and scripts write go through inner_text(inner_lift(), …): NULL where one is longer than a query may hold
-- (sql_long_texts.hpp). Each is looked up by a SELECT of its own: a column of the joined rows would be copied as it is to
-- where a query groups or sorts, and one long text would end every such query.

CREATE TEMP VIEW inner_experiments(name) AS SELECT name FROM main.experiment;

CREATE TEMP VIEW inner_runs(run, kind, experiment, name, status, status_reason, created, started, ended, duration_seconds,
  attempt, priority, parent, snapshot, script, command, arguments, source_directory, isolation, network, environment,
  environment_version, environment_kind, environment_digest, lock_digest, python_version, image, git_commit, git_branch,
  git_dirty, git_remote, outcome, exit_code, signal, peak_memory_bytes, cpu_seconds, error_code, error_message, number) AS
SELECT r.id, r.kind, e.name, (SELECT inner_text(inner_lift(), q.name) FROM main.run q WHERE q.seq = r.seq),
  r.status, (SELECT inner_text(inner_lift(), q.status_reason) FROM main.run q WHERE q.seq = r.seq),
  strftime('%Y-%m-%dT%H:%M:%S', r.created / 1000000, 'unixepoch') || printf('.%06dZ', r.created % 1000000),
  strftime('%Y-%m-%dT%H:%M:%S', r.started / 1000000, 'unixepoch') || printf('.%06dZ', r.started % 1000000),
  strftime('%Y-%m-%dT%H:%M:%S', r.ended / 1000000, 'unixepoch') || printf('.%06dZ', r.ended % 1000000),
  (r.ended - r.started) / 1e6, r.attempt, r.priority, (SELECT p.id FROM main.run p WHERE p.seq = r.parent),
  lower(hex(r.snapshot)),
  (SELECT inner_text(inner_lift(), s.definition) ->> '$.script' FROM main.submission s WHERE s.run = r.seq),
  (SELECT inner_text(inner_lift(), s.definition) -> '$.command' FROM main.submission s WHERE s.run = r.seq),
  (SELECT inner_text(inner_lift(), s.definition) -> '$.arguments' FROM main.submission s WHERE s.run = r.seq),
  (SELECT inner_text(inner_lift(), s.definition) ->> '$.sourceDirectory' FROM main.submission s WHERE s.run = r.seq),
  (SELECT inner_text(inner_lift(), s.definition) ->> '$.isolation' FROM main.submission s WHERE s.run = r.seq),
  (SELECT inner_text(inner_lift(), s.definition) ->> '$.network' FROM main.submission s WHERE s.run = r.seq),
  r.environment ->> '$.name', r.environment ->> '$.version', r.environment ->> '$.kind', r.environment ->> '$.digest',
  r.environment ->> '$.lockDigest', r.environment ->> '$.pythonVersion', r.environment ->> '$.image.id',
  (SELECT inner_text(inner_lift(), s.git) ->> '$.commit' FROM main.submission s WHERE s.run = r.seq),
  (SELECT inner_text(inner_lift(), s.git) ->> '$.branch' FROM main.submission s WHERE s.run = r.seq),
  (SELECT inner_text(inner_lift(), s.git) ->> '$.dirty' FROM main.submission s WHERE s.run = r.seq),
  (SELECT inner_text(inner_lift(), s.git) ->> '$.repositoryUri' FROM main.submission s WHERE s.run = r.seq),
  (SELECT inner_text(inner_lift(), q.outcome) ->> '$.kind' FROM main.run q WHERE q.seq = r.seq),
  (SELECT inner_text(inner_lift(), q.outcome) ->> '$.exitCode' FROM main.run q WHERE q.seq = r.seq),
  (SELECT inner_text(inner_lift(), q.outcome) ->> '$.signal' FROM main.run q WHERE q.seq = r.seq),
  (SELECT inner_text(inner_lift(), q.outcome) ->> '$.peakMemoryBytes' FROM main.run q WHERE q.seq = r.seq),
  (SELECT inner_text(inner_lift(), q.outcome) ->> '$.cpuSeconds' FROM main.run q WHERE q.seq = r.seq),
  (SELECT inner_text(inner_lift(), q.error) ->> '$.code' FROM main.run q WHERE q.seq = r.seq),
  (SELECT inner_text(inner_lift(), q.error) ->> '$.message' FROM main.run q WHERE q.seq = r.seq),
  r.seq
FROM main.run r JOIN main.experiment e ON e.id = r.experiment;

CREATE TEMP VIEW inner_tags(run, key, value) AS
SELECT r.id, t.key, (SELECT inner_text(inner_lift(), q.value) FROM main.tag q WHERE q.run = t.run AND q.key = t.key)
FROM main.tag t JOIN main.run r ON r.seq = t.run;

CREATE TEMP VIEW inner_properties(run, key, value) AS
SELECT r.id, p.key, (SELECT inner_text(inner_lift(), q.value) FROM main.property q WHERE q.run = p.run AND q.key = p.key)
FROM main.property p JOIN main.run r ON r.seq = p.run;

CREATE TEMP VIEW inner_parameters(run, key, value, number) AS
SELECT r.id, p.key, p.value, p.number FROM main.parameter p JOIN main.run r ON r.seq = p.run;

-- `last` is NULL for NaN, a file, rows, and a text of more than 256 bytes.
CREATE TEMP VIEW inner_metrics(run, name, shape, count, last, min, max, columns) AS
SELECT r.id, m.name, m.shape, m.count, CASE typeof(m.last) WHEN 'blob' THEN CAST(m.last AS TEXT) ELSE m.last END,
  m.minimum, m.maximum, (SELECT inner_text(inner_lift(), q.columns) FROM main.metric_series q WHERE q.id = m.id)
FROM main.metric_series m JOIN main.run r ON r.seq = m.run;

-- A value is NULL for NaN; of a file it is {"artifact", "type"}.
CREATE TEMP VIEW inner_metric_points(run, name, number, step, time, value) AS
SELECT r.id, m.name, p.number, p.step,
  strftime('%Y-%m-%dT%H:%M:%S', p.time / 1000000, 'unixepoch') || printf('.%06dZ', p.time % 1000000),
  (SELECT CASE typeof(q.value) WHEN 'text' THEN inner_text(inner_lift(), q.value)
    WHEN 'blob' THEN CAST(inner_text(inner_lift(), q.value) AS TEXT) ELSE q.value END
    FROM main.metric_point q WHERE q.series = p.series AND q.number = p.number)
FROM main.metric_point p JOIN main.metric_series m ON m.id = p.series JOIN main.run r ON r.seq = m.run;

CREATE TEMP VIEW inner_metric_rows(run, name, number, step, time, cells) AS
SELECT r.id, m.name, p.number, p.step,
  strftime('%Y-%m-%dT%H:%M:%S', p.time / 1000000, 'unixepoch') || printf('.%06dZ', p.time % 1000000),
  (SELECT inner_text(inner_lift(), q.cells) FROM main.metric_row q WHERE q.series = p.series AND q.number = p.number)
FROM main.metric_row p JOIN main.metric_series m ON m.id = p.series JOIN main.run r ON r.seq = m.run;

CREATE TEMP VIEW inner_artifacts(run, name, bytes, sha256) AS
SELECT r.id, a.name, a.bytes, lower(hex(a.sha256)) FROM main.artifact a JOIN main.run r ON r.seq = a.run;

CREATE TEMP VIEW inner_notices(run, number, text) AS
SELECT r.id, n.number, (SELECT inner_text(inner_lift(), q.text) FROM main.notice q WHERE q.run = n.run AND q.number = n.number)
FROM main.notice n JOIN main.run r ON r.seq = n.run;

-- Those before the present one (runs.attempt).
CREATE TEMP VIEW inner_attempts(run, number, started, ended, reason) AS
SELECT r.id, a.number,
  strftime('%Y-%m-%dT%H:%M:%S', a.started / 1000000, 'unixepoch') || printf('.%06dZ', a.started % 1000000),
  strftime('%Y-%m-%dT%H:%M:%S', a.ended / 1000000, 'unixepoch') || printf('.%06dZ', a.ended % 1000000),
  (SELECT inner_text(inner_lift(), q.reason) FROM main.attempt q WHERE q.run = a.run AND q.number = a.number)
FROM main.attempt a JOIN main.run r ON r.seq = a.run;

CREATE TEMP VIEW inner_environments(name, version, created, definition) AS
SELECT name, version,
  strftime('%Y-%m-%dT%H:%M:%S', created / 1000000, 'unixepoch') || printf('.%06dZ', created % 1000000),
  (SELECT inner_text(inner_lift(), q.definition) FROM main.environment_version q WHERE q.name = v.name AND q.version = v.version)
FROM main.environment_version v WHERE deleted = 0;

CREATE TEMP VIEW inner_ledger(number, run, kind, digest, previous, hash, time) AS
SELECT number, run_id, kind, lower(hex(digest)), lower(hex(previous)), lower(hex(hash)),
  strftime('%Y-%m-%dT%H:%M:%S', time / 1000000, 'unixepoch') || printf('.%06dZ', time % 1000000)
FROM main.ledger;
