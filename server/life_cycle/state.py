"""The life of an alert as a pure table: which move leads where, and which permission it needs.

Only an accepted rectification or a dismissal ends an alert. What stays in its state (a push, a confirmation, an
escalation) is a move all the same: every one becomes a row.
"""

from __future__ import annotations

from typing import Literal, get_args

from server.policy import Permission, role_may

State = Literal["open", "acknowledged", "rectifying", "submitted", "rejected", "closed", "dismissed"]
Move = Literal["confirm", "acknowledge", "start", "submit", "accept", "reject", "dismiss", "push", "reopen", "escalate"]
STATES: tuple[State, ...] = get_args(State)
FINAL: frozenset[State] = frozenset({"closed", "dismissed"})
# the site has to act; in ``submitted`` the reviewer has
WITH_SITE: frozenset[State] = frozenset({"open", "acknowledged", "rectifying", "rejected"})
UNFINISHED: tuple[State, ...] = tuple(state for state in STATES if state not in FINAL)

TABLE: dict[tuple[State, Move], State] = {
    ("open", "acknowledge"): "acknowledged",
    ("open", "start"): "rectifying",
    ("acknowledged", "start"): "rectifying",
    ("rejected", "start"): "rectifying",
    ("open", "submit"): "submitted",
    ("acknowledged", "submit"): "submitted",
    ("rectifying", "submit"): "submitted",
    ("rejected", "submit"): "submitted",
    ("submitted", "accept"): "closed",
    ("submitted", "reject"): "rejected",
    ("closed", "reopen"): "open",
    ("dismissed", "reopen"): "open",
    **{(state, "dismiss"): "dismissed" for state in UNFINISHED},
    **{(state, move): state for state in UNFINISHED for move in ("confirm", "push", "escalate")},
}  # fmt: skip
MAY: dict[Move, Permission] = {
    "confirm": "alert.acknowledge",
    "acknowledge": "alert.acknowledge",
    "start": "alert.rectify",
    "submit": "alert.rectify",
    "accept": "alert.review",
    "reject": "alert.review",
    "dismiss": "alert.dismiss",
    "push": "alert.push",
    "reopen": "alert.review",
}
BY_CENTRE: frozenset[Move] = frozenset({"escalate"})
NEEDS_REASON: frozenset[Move] = frozenset({"reject", "dismiss", "reopen"})
AFTER_CONFIRMATION: frozenset[Move] = frozenset({"start", "submit", "accept"})


class MoveRefused(Exception):
    """``code``: ``not_allowed`` (this role never may), ``wrong_state`` (not now), ``unconfirmed`` (confirm first),
    ``pushed_lately`` (the same person, a moment ago)."""

    def __init__(self, code: Literal["not_allowed", "wrong_state", "unconfirmed", "pushed_lately"]) -> None:
        super().__init__(code)
        self.code = code


def next_state(state: State, move: Move, role: str | None, *, unconfirmed: bool = False) -> State:
    """The state after *move*; raises MoveRefused. No *role* is the centre itself.

    *unconfirmed*: the alert waits for a person who says that it is true.
    """
    if not _allowed(move, role):
        raise MoveRefused("not_allowed")
    if (state, move) not in TABLE or (move == "confirm" and not unconfirmed):
        raise MoveRefused("wrong_state")
    if unconfirmed and move in AFTER_CONFIRMATION:
        raise MoveRefused("unconfirmed")
    return TABLE[state, move]


def moves(state: State, role: str, *, unconfirmed: bool = False) -> list[Move]:
    """What this role may do now."""
    found: list[Move] = []
    for move in MAY:
        try:
            next_state(state, move, role, unconfirmed=unconfirmed)
        except MoveRefused:
            continue
        found.append(move)
    return found


def _allowed(move: Move, role: str | None) -> bool:
    if role is None:
        return move in BY_CENTRE
    return move in MAY and role_may(role, MAY[move])
