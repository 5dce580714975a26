"""The life of an alert as a pure table: which move leads where, and which permission it needs."""

from __future__ import annotations

from typing import Literal

from server.policy import Permission, role_may

State = Literal["open", "acknowledged", "submitted", "rejected", "closed"]
Move = Literal["acknowledge", "submit", "accept", "reject"]
STATES: tuple[State, ...] = ("open", "acknowledged", "submitted", "rejected", "closed")

TABLE: dict[tuple[State, Move], State] = {
    ("open", "acknowledge"): "acknowledged",
    ("open", "submit"): "submitted",
    ("acknowledged", "submit"): "submitted",
    ("rejected", "submit"): "submitted",
    ("submitted", "accept"): "closed",
    ("submitted", "reject"): "rejected",
}
MAY: dict[Move, Permission] = {
    "acknowledge": "alert.acknowledge",
    "submit": "alert.rectify",
    "accept": "alert.review",
    "reject": "alert.review",
}


class MoveRefused(Exception):
    """``code`` is ``not_allowed`` (this role never may) or ``wrong_state`` (not now)."""

    def __init__(self, code: Literal["not_allowed", "wrong_state"]) -> None:
        super().__init__(code)
        self.code = code


def next_state(state: State, move: Move, role: str) -> State:
    """The state after *move*; raises MoveRefused."""
    if not role_may(role, MAY[move]):
        raise MoveRefused("not_allowed")
    if (state, move) not in TABLE:
        raise MoveRefused("wrong_state")
    return TABLE[state, move]


def moves(state: State, role: str) -> list[Move]:
    """What this role may do now."""
    return [move for (at, move) in TABLE if at == state and role_may(role, MAY[move])]
