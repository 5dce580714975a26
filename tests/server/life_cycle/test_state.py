"""No sequence of moves, people's or the centre's, leads an alert astray: every move is a row, and only two end it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import select

from server import service
from server.audit import verify_audit
from server.database import make_engine
from server.life_cycle.state import FINAL, MAY, NEEDS_REASON, STATES, TABLE, Move, MoveRefused, moves, next_state
from server.models import AlertMove, Rectification
from server.models_life_cycle import Card, Dismissal, OverdueStep, Recheck
from server.policy import ROLES, role_may
from server.settings import Settings
from tests.ready_record import lay_ready_record
from tests.server.centre import picture
from tests.server.life_cycle.record import Desk

PEOPLE = ("staff", "regulator", "viewer", "auditor", "administrator")
ALL_MOVES: tuple[Move, ...] = get_args(Move)


@pytest.mark.parametrize("unconfirmed", [False, True])
def test_a_role_is_offered_exactly_the_moves_that_it_may_make_now(unconfirmed: bool) -> None:
    for state in STATES:
        for role in ROLES:
            offered = moves(state, role, unconfirmed=unconfirmed)
            for move in ALL_MOVES:
                if move in offered:
                    next_state(state, move, role, unconfirmed=unconfirmed)
                    continue
                with pytest.raises(MoveRefused) as caught:
                    next_state(state, move, role, unconfirmed=unconfirmed)
                never = move not in MAY or not role_may(role, MAY[move])
                assert (caught.value.code == "not_allowed") == never


def test_only_an_accepted_rectification_and_a_dismissal_end_an_alert() -> None:
    ends = {(state, move) for (state, move), after in TABLE.items() if after in FINAL}
    assert {move for _, move in ends} == {"accept", "dismiss"}
    assert {state for state, move in ends if move == "accept"} == {"submitted"}
    assert {move for (state, move) in TABLE if state in FINAL} == {"reopen"}


def test_every_state_can_be_reached_and_left() -> None:
    assert set(TABLE.values()) | {"open"} == set(STATES)
    assert {state for (state, move), after in TABLE.items() if after != state} == set(STATES)


@contextmanager
def new_desk() -> Iterator[Desk]:
    with TemporaryDirectory() as folder:
        lay_ready_record(Path(folder))
        engine = make_engine(Settings(data_dir=Path(folder)))
        yield Desk(engine, Path(folder), picture)
        engine.dispose()


class Life(RuleBasedStateMachine):
    """One alert of a kind that has to be confirmed, everybody's moves, and the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = new_desk()
        self.desk = self.opened.__enter__()
        self.alert_id = self.desk.raised("rodent")
        self.rows = 1
        self.pushed: dict[str, datetime] = {}

    @rule(move=st.sampled_from([move for move in ALL_MOVES if move != "submit"]), role=st.sampled_from(PEOPLE),
          note=st.sampled_from(["", "a reason"]))  # fmt: skip
    def somebody_moves(self, move: Move, role: str, note: str) -> None:
        before = self.desk.alert(self.alert_id)
        waits = before.confirm_by_at is not None and before.confirmed_at is None
        try:
            expected = next_state(before.state, move, role, unconfirmed=waits)  # type: ignore[arg-type]
        except MoveRefused:
            with pytest.raises(MoveRefused):
                self.desk.move(self.alert_id, move, role, note)
            return
        if move in NEEDS_REASON and not note:
            with pytest.raises(service.NoteMissing):
                self.desk.move(self.alert_id, move, role, note)
            return
        if move == "push":
            if role in self.pushed and self.desk.now < self.pushed[role] + service.PUSH_AGAIN_AFTER:
                with pytest.raises(MoveRefused, match="pushed_lately"):
                    self.desk.move(self.alert_id, move, role, note)
                return
            self.pushed[role] = self.desk.now
        assert self.desk.move(self.alert_id, move, role, note).state == expected
        self.rows += 1

    @precondition(lambda self: self.desk.alert(self.alert_id).state in ("open", "acknowledged", "rectifying"))
    @rule()
    def staff_submit(self) -> None:
        before = self.desk.alert(self.alert_id)
        if before.confirmed_at is None:
            with pytest.raises(MoveRefused, match="unconfirmed"):
                self.desk.submit(self.alert_id)
            return
        assert self.desk.submit(self.alert_id).state == "submitted"
        self.rows += 1

    @rule(hours=st.sampled_from([0.2, 1, 30, 200]))
    def time_passes(self, hours: float) -> None:
        before = self.desk.alert(self.alert_id)
        self.desk.later(hours=hours)
        self.desk.clockwork().work_off()
        after = self.desk.alert(self.alert_id)
        assert after.state == before.state, "time alone ends nothing"
        assert after.next_step_at is None or after.next_step_at > self.desk.now
        self.rows = len(self.desk.moves(self.alert_id))

    @invariant()
    def the_rows_tell_all(self) -> None:
        told = self.desk.moves(self.alert_id)
        assert len(told) == self.rows
        state: str | None = None
        for move, old, new in told:
            assert old == state
            assert move == "raise" or TABLE[old, move] == new  # type: ignore[index]
            state = new
        assert state == self.desk.alert(self.alert_id).state
        escalated = [move for move, _, _ in told if move == "escalate"]
        assert len(escalated) == len(self.desk.rows(OverdueStep))

    @invariant()
    def an_end_has_its_reason(self) -> None:
        state = self.desk.alert(self.alert_id).state
        rectifications = self.desk.rows(Rectification)
        standing = [row for row in self.desk.rows(Dismissal) if row.withdrawn_at is None]
        if state == "closed":
            assert rectifications[-1].accepted is True
        assert bool(standing) == (state == "dismissed")
        assert len(self.desk.rows(Recheck)) == len(rectifications)
        colours = [card.colour for card in self.desk.rows(Card)]
        assert len(colours) == len(set(colours))

    def teardown(self) -> None:
        with self.desk.changing() as db:
            entries, problems = verify_audit(db)
            assert not problems
            assert entries >= len(list(db.scalars(select(AlertMove)))) - 1
        self.opened.__exit__(None, None, None)


def test_no_sequence_of_moves_and_hours_leads_astray() -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=15, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
