-- The outbox file. One row per sealed batch that the centre has not yet receipted.
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lane (
  name TEXT PRIMARY KEY,
  last_seq INTEGER NOT NULL,
  last_sha256 TEXT NOT NULL,
  records INTEGER NOT NULL,      -- ever committed
  delivered INTEGER NOT NULL,    -- receipted as accepted or duplicate
  rejected INTEGER NOT NULL,     -- receipted as rejected: moved to dead_letter
  evicted INTEGER NOT NULL       -- given up for want of space, each told in a data_gap event
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch (
  lane TEXT NOT NULL,
  seq INTEGER NOT NULL,
  count INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  raw BLOB NOT NULL,
  PRIMARY KEY (lane, seq)
);
CREATE TABLE IF NOT EXISTS dead_letter (
  lane TEXT NOT NULL, seq INTEGER NOT NULL, reason TEXT NOT NULL, raw BLOB NOT NULL, PRIMARY KEY (lane, seq)
);
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
