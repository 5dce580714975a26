"""Temperature reports and HACCP logs: facts frozen from the journal, signed by people, checkable by anyone."""
