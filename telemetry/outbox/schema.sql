-- The outbox file. Small rows and the bytes of the batches stand apart, so that a receipt rewrites no blob.
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS lane (
  name TEXT PRIMARY KEY,
  last_seq INTEGER NOT NULL,
  last_sha256 TEXT NOT NULL,
  records INTEGER NOT NULL,      -- ever committed
  delivered INTEGER NOT NULL,    -- receipted as accepted or duplicate
  rejected INTEGER NOT NULL,     -- set aside in dead_letter, each told in a data_gap event
  evicted INTEGER NOT NULL,      -- given up for want of space, each told in a data_gap event
  refused INTEGER NOT NULL       -- not taken because the disk was full, each told in a data_gap event
) WITHOUT ROWID, STRICT;
-- Readings on disk but not yet sealed: they wait here until a batch is full or the forwarder wants one.
CREATE TABLE IF NOT EXISTS fresh (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  boot_id TEXT NOT NULL,
  count INTEGER NOT NULL,
  crc INTEGER NOT NULL,          -- CRC-32 of payload
  payload BLOB NOT NULL          -- JSON array of readings
) STRICT;
CREATE TABLE IF NOT EXISTS batch (
  id INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of sealing over all epochs
  epoch TEXT NOT NULL,
  lane TEXT NOT NULL,
  seq INTEGER NOT NULL,
  count INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  delivered INTEGER NOT NULL DEFAULT 0,  -- 1: the centre has it; kept a while in case it asks again
  UNIQUE (epoch, lane, seq)
) STRICT;
CREATE INDEX IF NOT EXISTS batch_order ON batch (lane, delivered, id);
CREATE TABLE IF NOT EXISTS frame (id INTEGER PRIMARY KEY, raw BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS dead_letter (
  epoch TEXT NOT NULL, lane TEXT NOT NULL, seq INTEGER NOT NULL, count INTEGER NOT NULL, reason TEXT NOT NULL,
  raw BLOB NOT NULL, PRIMARY KEY (epoch, lane, seq)
) STRICT;
-- Batches that the centre asked for and that are not here: told once in a data_gap event.
CREATE TABLE IF NOT EXISTS told_missing (
  epoch TEXT NOT NULL, lane TEXT NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
  PRIMARY KEY (epoch, lane, first_seq, last_seq)
) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID, STRICT;
