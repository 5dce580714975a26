"""The Merkle log: what was on record, in which order, provable to whoever holds a published head."""
