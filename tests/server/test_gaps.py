"""Gap proof: the centre knows what it lacks, asks for it, and says what the box has told of it."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.server.centre import Box, Centre, reading, run_cli, run_here


def ask(box: Box, *frames: bytes) -> list[dict[str, Any]]:
    """Send frames and ask what is missing."""
    with httpx.Client(base_url=box.centre.url, timeout=30) as client:
        answer = client.post("/api/v1/batches", content=b"".join(frames), headers={"brightline-ask-missing": "1"})
    assert answer.status_code == 200, answer.text
    missing: list[dict[str, Any]] = answer.json()["missing"]
    return missing


def holes(centre: Centre, box: Box) -> list[tuple[str, int, int, str | None]]:
    found = json.loads(run_here("gaps", "--json", "--box", box.box_id, "--data", str(centre.data)).stdout)
    return [(hole["lane"], hole["first_seq"], hole["last_seq"], hole["told"]) for hole in found]


def test_a_hole_is_asked_for_until_it_is_filled(centre: Centre) -> None:
    box = centre.box()
    frames = [box.seal("readings", [reading(4.0, number)]) for number in range(10)]
    assert ask(box, frames[0]) == []
    found = ask(box, frames[4], frames[9])
    assert [(item["lane"], item["first_seq"], item["last_seq"]) for item in found] == [
        ("readings", 2, 4),
        ("readings", 6, 9),
    ]
    assert {item["epoch"] for item in found} == {box.epoch}
    assert holes(centre, box) == [("readings", 2, 4, None), ("readings", 6, 9, None)]
    assert [(item["first_seq"], item["last_seq"]) for item in ask(box, *frames[1:4], frames[6])] == [(6, 6), (8, 9)]
    assert ask(box, *frames[5:9]) == []
    assert holes(centre, box) == []


def test_a_lane_whose_first_batches_never_came_is_a_hole_as_well(centre: Centre) -> None:
    box = centre.box()
    frames = [box.seal("events", [box.event()]) for _ in range(3)]
    assert [(item["first_seq"], item["last_seq"]) for item in ask(box, frames[2])] == [(1, 2)]


def test_what_the_box_told_as_lost_is_explained_and_not_asked_again(centre: Centre) -> None:
    box = centre.box()
    frames = [box.seal("readings", [reading(4.0, number)]) for number in range(10)]
    told = {"reason": "evicted", "epoch": box.epoch, "lane": "readings", "first_seq": 2, "last_seq": 5, "records": 4}
    gap = box.event("data_gap", data=told)
    found = ask(box, frames[0], frames[9], box.seal("events", [gap]))
    assert [(item["first_seq"], item["last_seq"]) for item in found] == [(6, 9)]
    assert holes(centre, box) == [("readings", 2, 5, "evicted"), ("readings", 6, 9, None)]
    rest = box.event("data_gap", data={**told, "reason": "missing", "first_seq": 6, "last_seq": 9})
    assert ask(box, box.seal("events", [rest])) == []
    assert holes(centre, box) == [("readings", 2, 5, "evicted"), ("readings", 6, 9, "missing")]
    text = run_cli("gaps", "--box", box.box_id, "--data", str(centre.data)).stdout
    assert "told by the box: evicted" in text
    assert "2 gaps, 0 not explained yet" in text


def test_a_box_hears_nothing_of_another_box(centre: Centre) -> None:
    first, second = centre.box(), centre.box()
    frames = [first.seal("readings", [reading(4.0, number)]) for number in range(3)]
    assert ask(first, frames[2])
    assert ask(second, second.seal("readings", [reading()])) == []


def test_a_box_that_does_not_ask_is_told_nothing(centre: Centre) -> None:
    box = centre.box()
    box.seal("readings", [reading(4.0)])
    assert box.send(box.seal("readings", [reading(5.0)])).json()["missing"] == []


def test_old_records_wait_when_too_many_come_at_once_and_new_ones_do_not() -> None:
    import pytest

    from server.backfill import Backfill
    from server.problems import Problem

    backfill = Backfill(requests_max=2)
    with backfill.entered(historical=True), backfill.entered(historical=True):
        with backfill.entered(historical=False):
            pass
        with pytest.raises(Problem) as busy, backfill.entered(historical=True):
            pass
        assert busy.value.status == 503
        assert busy.value.headers is not None
        assert int(busy.value.headers["retry-after"]) > 0
    with backfill.entered(historical=True):
        pass
