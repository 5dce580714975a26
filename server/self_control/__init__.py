"""Self-control: 日管控, 周排查, 月调度 and the retained samples; see README.md."""
