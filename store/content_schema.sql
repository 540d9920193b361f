-- content.db: contents by SHA-256. Schema version 2 (PRAGMA user_version); page_size 65536, auto_vacuum INCREMENTAL.
-- Chunks are appended in the order they are stored and never move; only the small rows of `content` are ordered by hash.
-- (Data in hash order would rewrite a random 64 KiB page for every small file.)
-- A row of `content` is written only in a synced transaction, after its chunk: what can be found is durable. A chunk row that no
-- row of `content` names belongs to a batch on its way, or is garbage of a crash.
-- The foreign keys below are declared for `PRAGMA foreign_key_check`; they are not enforced row by row (store/README.md says why).

CREATE TABLE chunk (
  id    INTEGER PRIMARY KEY,
  codec INTEGER NOT NULL CHECK (codec IN (0, 1)),  -- 0 as it is, 1 one zstd frame
  size  INTEGER NOT NULL,                          -- bytes of the content, not of `data`
  data  BLOB NOT NULL
) STRICT;

-- Every content that can be asked for, chunks of large contents included. `chunk` NULL: its pieces are in `part`.
CREATE TABLE content (
  hash  BLOB PRIMARY KEY CHECK (length(hash) = 32),
  size  INTEGER NOT NULL,
  chunk INTEGER REFERENCES chunk(id)
) STRICT, WITHOUT ROWID;

-- Contents over 2 MiB: chunks as cut by chunker.cpp, in order.
CREATE TABLE part (
  content BLOB NOT NULL REFERENCES content(hash),
  offset  INTEGER NOT NULL,                         -- bytes from the start of the content
  chunk   BLOB NOT NULL REFERENCES content(hash),
  PRIMARY KEY (content, offset)
) STRICT, WITHOUT ROWID;

-- One row: changed in every transaction that deletes rows of `content`, and by each opening; drawn at random (content_uses.hpp). While it is the same,
-- whatever could be found can be found, and the snapshots' stat caches need not ask.
CREATE TABLE generation (
  one   INTEGER PRIMARY KEY CHECK (one = 1),
  value INTEGER NOT NULL
) STRICT;
INSERT INTO generation VALUES (1, (random() & 9223372036854775807) | 1);
