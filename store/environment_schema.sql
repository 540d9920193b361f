-- runner.db since schema version 2: environments. Specifications and locks are written once, before the run that names
-- them, and never change; builds are what this disk (or the Engine) has just now and may go at any time.

CREATE TABLE environment_lock (
  digest  BLOB PRIMARY KEY CHECK (length(digest) = 32),
  content TEXT NOT NULL  -- JSON, envs/lock.hpp
) STRICT, WITHOUT ROWID;

CREATE TABLE environment (
  digest        BLOB PRIMARY KEY CHECK (length(digest) = 32),  -- the identity: of `identity`
  kind          TEXT NOT NULL,
  specification TEXT NOT NULL,  -- JSON, envs/specification.hpp
  identity      TEXT NOT NULL,  -- the hash's input, for people
  created       INTEGER NOT NULL,
  lock          BLOB REFERENCES environment_lock(digest)  -- of the newest build, whether it is still there or not
) STRICT, WITHOUT ROWID;

CREATE TABLE environment_build (
  id          INTEGER PRIMARY KEY,
  environment BLOB NOT NULL REFERENCES environment(digest),
  lock        BLOB NOT NULL REFERENCES environment_lock(digest),
  directory   TEXT NOT NULL,  -- its name in envs/; empty: an image only
  interpreter TEXT NOT NULL,  -- absolute path; empty: no Python, or the image's
  fingerprint BLOB CHECK (length(fingerprint) = 32),  -- what the interpreter answered when it was made
  variables   TEXT NOT NULL,  -- JSON: what activating it sets
  image       TEXT NOT NULL,  -- id; empty: none
  engine      TEXT NOT NULL,  -- the Engine's socket; empty: none
  bytes       INTEGER NOT NULL,
  created     INTEGER NOT NULL,
  used        INTEGER NOT NULL
) STRICT;
CREATE INDEX environment_build_by_environment ON environment_build(environment, id);
CREATE UNIQUE INDEX environment_build_by_directory ON environment_build(directory) WHERE directory <> '';

-- Registered environments. A deleted version keeps its number: it is never given again.
CREATE TABLE environment_version (
  name       TEXT NOT NULL,
  version    INTEGER NOT NULL,
  definition TEXT NOT NULL,  -- JSON: what was registered
  content    BLOB NOT NULL CHECK (length(content) = 32),  -- of its meaning: equal content is the same version
  created    INTEGER NOT NULL,
  deleted    INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1)),
  PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX environment_version_by_content ON environment_version(content);

CREATE TRIGGER environment_is_immutable BEFORE UPDATE OF digest, kind, specification, identity, created ON environment BEGIN
  SELECT RAISE(ABORT, 'an environment cannot be changed');
END;
CREATE TRIGGER environment_lock_is_immutable BEFORE UPDATE ON environment_lock BEGIN
  SELECT RAISE(ABORT, 'a lock cannot be changed');
END;
CREATE TRIGGER environment_version_is_immutable
BEFORE UPDATE OF name, version, definition, content, created ON environment_version BEGIN
  SELECT RAISE(ABORT, 'a registered environment cannot be changed');
END;
