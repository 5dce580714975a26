"""The life of an alert: its states, deadlines, escalation, proof and second look."""
