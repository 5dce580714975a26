"""Backups of the whole record that prove themselves, and the way back from one onto an empty machine."""
