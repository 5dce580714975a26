"""The life of an alert as a pure table: which move leads where, and who may make it."""

from __future__ import annotations

from typing import Literal

State = Literal["open", "acknowledged", "submitted", "rejected", "closed"]
Move = Literal["acknowledge", "submit", "accept", "reject"]
Role = Literal["staff", "regulator", "administrator"]
STATES: tuple[State, ...] = ("open", "acknowledged", "submitted", "rejected", "closed")
ROLES: tuple[Role, ...] = ("staff", "regulator", "administrator")

TABLE: dict[tuple[State, Move], State] = {
    ("open", "acknowledge"): "acknowledged",
    ("open", "submit"): "submitted",
    ("acknowledged", "submit"): "submitted",
    ("rejected", "submit"): "submitted",
    ("submitted", "accept"): "closed",
    ("submitted", "reject"): "rejected",
}
MAY: dict[Move, frozenset[Role]] = {
    "acknowledge": frozenset({"staff", "regulator"}),
    "submit": frozenset({"staff"}),
    "accept": frozenset({"regulator"}),
    "reject": frozenset({"regulator"}),
}


class MoveRefused(Exception):
    """``code`` is ``not_allowed`` (this role never may) or ``wrong_state`` (not now)."""

    def __init__(self, code: Literal["not_allowed", "wrong_state"]) -> None:
        super().__init__(code)
        self.code = code


def next_state(state: State, move: Move, role: Role) -> State:
    """The state after *move*; raises MoveRefused."""
    if role not in MAY[move]:
        raise MoveRefused("not_allowed")
    if (state, move) not in TABLE:
        raise MoveRefused("wrong_state")
    return TABLE[state, move]


def moves(state: State, role: Role) -> list[Move]:
    """What this role may do now."""
    return [move for (at, move) in TABLE if at == state and role in MAY[move]]
