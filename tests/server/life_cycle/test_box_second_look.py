"""What is asked of a box after a rectification goes out as its command, and its answer comes back to the alert."""

from __future__ import annotations

from typing import Any

import pytest

from server.boxes.commands import take_result
from server.boxes.second_looks import asked_of
from server.models import Box
from server.models_life_cycle import Recheck
from telemetry.messages import Event
from tests.server.life_cycle.record import Desk


def submitted(desk: Desk) -> Recheck:
    desk.submit(desk.raised("no_mask", data={"zone": "备餐间", "model_sha256": "m" * 64}))
    return desk.rows(Recheck)[-1]


def answer(desk: Desk, command_id: str, box_id: str = "box-A", **facts: Any) -> Recheck:
    """The row after a box told a result."""
    data = {"kind": "command", "command_id": command_id, "command": "recheck", **facts}
    event = Event(
        event_id=f"{command_id}.result"[:64], incident_id="i", type="box_status", severity="info", source_id=box_id,
        at=desk.now, data=data,
    )  # fmt: skip
    with desk.changing() as db:
        box = db.get(Box, box_id) or Box(id=box_id, name=box_id, site_id=1, public_key="", enrolled_at=desk.now)
        take_result(db, box, event)
    return desk.rows(Recheck)[-1]


def test_second_look_is_offered_to_its_box_until_it_is_answered(desk: Desk) -> None:
    asked = submitted(desk)
    with desk.changing() as db:
        (command,) = asked_of(db, "box-A", desk.now)
        assert asked_of(db, "box-B", desk.now) == []
        assert asked_of(db, "box-A", asked.expires_at) == []
    assert command.kind == "recheck"
    assert command.arguments == {"camera": "cam-1", "kind": "no_mask", "zone": "备餐间"}
    forged = answer(desk, command.command_id, "box-other", status="done", verdict="compliant")
    assert forged.state == "asked"
    told = answer(desk, command.command_id, status="done", verdict="violating", evidence=["e" * 64], reason="")
    assert (told.state, told.result, told.evidence_sha256) == ("answered", "violating", "e" * 64)
    again = answer(desk, command.command_id, status="done", verdict="compliant")
    assert again.result == "violating"
    with desk.changing() as db:
        assert asked_of(db, "box-A", desk.now) == []


@pytest.mark.parametrize(
    "facts",
    [
        {"status": "refused", "reason": "not allowed"},
        {"status": "failed", "reason": "not allowed", "verdict": "compliant"},
        {"status": "done", "reason": "not allowed", "verdict": "surely"},
    ],
)
def test_box_that_cannot_look_leaves_it_to_the_reviewer_with_the_reason(desk: Desk, facts: dict[str, Any]) -> None:
    told = answer(desk, f"recheck-{submitted(desk).id}", **facts)
    assert (told.state, told.result, told.reason) == ("unavailable", "", "not allowed")


@pytest.mark.parametrize("command_id", ["recheck-", "recheck-x", "recheck-" + "9" * 40, "recheck-999999", "x"])
def test_result_of_no_second_look_changes_nothing(desk: Desk, command_id: str) -> None:
    submitted(desk)
    assert answer(desk, command_id, status="done", verdict="compliant").state == "asked"
