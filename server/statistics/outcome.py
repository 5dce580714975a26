"""What an alert's state means for figures: decided here once, whatever states the life cycle has."""

from __future__ import annotations

from typing import Literal

Outcome = Literal["pending", "closed", "dismissed"]
CLOSED = "closed"
FINAL: dict[str, Outcome] = {CLOSED: "closed", "dismissed": "dismissed"}


def outcome_of(state: str) -> Outcome:
    """``closed``: its repair was accepted; ``dismissed``: it was a false alarm; ``pending``: all else.

    An alert counts as confirmed unless it is dismissed.
    """
    return FINAL.get(state, "pending")
