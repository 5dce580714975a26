"""Statistics over alerts and coverage; see README.md."""
