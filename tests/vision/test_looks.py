"""A second look judges as long as the rule itself would, and says unknown rather than guess."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.vision.views import black, boxes, frame
from vision.detections import Detections
from vision.detector import ScriptedDetector
from vision.happenings import Looked
from vision.looks import PATIENCE_S, LookOrder
from vision.pipeline import Watch
from vision.watch_settings import Watched, WatchSettings

SETTINGS = WatchSettings("k", "unused", violations=(Watched("no_mask", changes={"dwell_s": 2.0}),), rate_fps=5)
MASK, NO_MASK = boxes((0, 100, 100, 160, 160, 0.9)), boxes((1, 100, 100, 160, 160, 0.9))
AGAIN = LookOrder("o1", "recheck", "no_mask")


def look(order: LookOrder, script: Iterable[Detections], pictures: int = 40) -> list[Looked]:
    """The answers while the camera sees what the *script* says, five pictures a second."""
    watch = Watch(SETTINGS, [ScriptedDetector({0: "mask", 1: "no_mask"}, list(script))])
    watch.looks.take(order)
    return [item for number in range(pictures) for item in watch.judge(frame(number)) if isinstance(item, Looked)]


@pytest.mark.parametrize(
    ("script", "verdict", "reason"),
    [
        ([MASK] * 40, "compliant", ""),
        ([NO_MASK] * 40, "violating", ""),
        ([boxes()] * 40, "unknown", "nobody was seen"),
        ([MASK, NO_MASK] * 20, "unknown", "it was not clear"),
    ],
)
def test_second_look_takes_the_rules_time_and_says_what_was_seen(
    script: list[Detections], verdict: str, reason: str
) -> None:
    (answer,) = look(AGAIN, script)
    assert (answer.status, answer.verdict, answer.reason) == ("done", verdict, reason)
    assert (answer.at - frame(0).captured_at).total_seconds() == pytest.approx(2.0, abs=0.3)
    assert answer.snapshot_jpeg.startswith(b"\xff\xd8")
    assert answer.model_sha256


def test_snapshot_is_of_the_next_clear_picture_and_nothing_is_judged() -> None:
    (answer,) = look(LookOrder("o1", "snapshot"), [MASK] * 40)
    assert (answer.status, answer.verdict, answer.at) == ("done", None, frame(0).captured_at)
    assert answer.original_jpeg


def test_what_is_not_watched_for_is_refused_with_its_name() -> None:
    (answer,) = look(LookOrder("o1", "recheck", "no_hat", "desk"), [MASK] * 40)
    assert (answer.status, answer.reason) == ("refused", "this camera does not watch for no_hat in desk")


def test_blind_camera_gives_no_verdict_but_an_answer() -> None:
    watch = Watch(SETTINGS, [ScriptedDetector({0: "mask", 1: "no_mask"}, [MASK])])
    watch.looks.take(AGAIN)
    answers = [
        item
        for number in range(int(5 * (PATIENCE_S + 10)))
        for item in watch.judge(black(number))
        if isinstance(item, Looked)
    ]
    assert [(item.status, item.verdict, item.reason) for item in answers] == [
        ("failed", None, "the camera sees nothing")
    ]
