"""A state that lasts is judged by its place: tracks come and go, the bin stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from tests.vision.sightings import scene, seen
from tests.vision.views import START, boxes, frame
from vision.catalogue import Catalogue, StateRule
from vision.detections import Detections
from vision.detector import ScriptedDetector
from vision.happenings import ViolationClosed, ViolationOpened
from vision.pipeline import Watch
from vision.places import Places
from vision.watch_settings import Watched, WatchSettings

NAMES = {0: "open_bin", 1: "closed_bin", 2: "person", 3: "fire"}
FPS = 1
BIN = boxes((0, 150, 100, 180, 140))
SHUT = boxes((1, 150, 100, 180, 140))
OTHER_BIN = boxes((0, 190, 100, 220, 140))
FIRE = boxes((3, 150, 100, 180, 140))
NOTHING = boxes()
PICTURES = [frame(index, np.ascontiguousarray(frame(index).image[:192, :320])) for index in range(8)]


def happened(
    code: str, shown: Callable[[float], Detections], seconds: float, **changes: object
) -> list[tuple[str, float]]:
    """What opened and closed, and when, while *shown* tells what the model finds at each second."""
    moments = [index / FPS for index in range(int(seconds * FPS) + 1)]
    settings = WatchSettings("cam", "unused", violations=(Watched(code, changes=changes),), rate_fps=FPS)
    watch = Watch(settings, [ScriptedDetector(NAMES, [shown(at_s) for at_s in moments])])
    told = []
    for index, at_s in enumerate(moments):
        at = START + timedelta(seconds=at_s)
        picture = replace(PICTURES[index % len(PICTURES)], monotonic_s=at_s, captured_at=at)
        told += [(type(item), at_s) for item in watch.judge(picture)]
    return [(kind.__name__, at_s) for kind, at_s in told if kind in (ViolationOpened, ViolationClosed)]


def hidden(found: Detections, *, for_s: float, every_s: float) -> Callable[[float], Detections]:
    return lambda at_s: NOTHING if at_s % every_s < for_s else found


@pytest.mark.parametrize("every_s", [60, 240])
def test_an_open_bin_that_is_hidden_now_and_then_is_told(every_s: float) -> None:
    assert happened("open_bin", hidden(BIN, for_s=4, every_s=every_s), 306) == [("ViolationOpened", 304)]


@pytest.mark.parametrize(
    "shown",
    [
        hidden(FIRE, for_s=4, every_s=30),
        lambda at_s: boxes((3, 150 + 35 * (at_s // 10 % 2), 100, 180 + 35 * (at_s // 10 % 2), 140)),
    ],
)
def test_a_flame_that_flickers_or_jumps_is_told(shown: Callable[[float], Detections]) -> None:
    ((name, at_s),) = happened("unattended_flame", shown, 66)
    assert (name, at_s <= 60 + 4) == ("ViolationOpened", True)


SHORT = {"dwell_s": 40, "recover_s": 5}  # window_share 0.9: it may be unseen for four seconds


def test_hidden_time_is_neither_open_nor_shut() -> None:
    """Hidden for longer than what of the dwell may be missing, it is judged anew; so it is when too little was seen."""
    assert happened("open_bin", hidden(BIN, for_s=5, every_s=30), 90, **SHORT) == []
    assert happened("open_bin", hidden(BIN, for_s=4, every_s=7), 120, **SHORT) == []


def test_a_bin_that_is_taken_away_ends_the_incident_and_so_does_one_that_is_shut() -> None:
    expected = [("ViolationOpened", 40), ("ViolationClosed", 44 + 5)]
    for after in (NOTHING, SHUT):
        assert happened("open_bin", lambda at_s, after=after: BIN if at_s < 45 else after, 60, **SHORT) == expected


def test_a_bin_that_is_shut_behind_somebody_is_not_the_open_one_any_more() -> None:
    def shown(at_s: float) -> Detections:
        return BIN if at_s < 20 else NOTHING if at_s < 23.5 else SHUT

    assert happened("open_bin", shown, 80, **SHORT) == []


def test_two_bins_that_are_open_in_turn_are_two() -> None:
    assert happened("open_bin", lambda at_s: BIN if at_s // 20 % 2 else OTHER_BIN, 120, **SHORT) == []


def bin_at(left: float, track: int, name: str = "open_bin") -> object:
    return seen(name, left, 200, left + 60, 280, track=track)


def named(places: Places, now_s: float, *items: object) -> list[int]:
    found = places.name(scene(*items), ("open_bin", "closed_bin"), now_s)
    return [item.track_id for item in found.sightings]


def test_a_new_track_goes_on_with_what_stood_there_and_two_at_once_are_two() -> None:
    places = Places(grace_s=10)
    assert named(places, 0, bin_at(100, 1), bin_at(200, 2)) == [1, 2]
    assert named(places, 5, bin_at(205, 7), bin_at(100, 1), bin_at(103, 8)) == [2, 1, 8]
    assert named(places, 6, bin_at(104, 9), bin_at(100, 1), bin_at(206, 7)) == [8, 1, 2]


def test_of_two_that_come_back_each_gets_its_own_place() -> None:
    places = Places(grace_s=10, reach=1)
    named(places, 0, bin_at(100, 1), bin_at(150, 2))
    assert named(places, 5, bin_at(152, 3), bin_at(108, 4)) == [2, 1]


def test_a_track_that_comes_back_beside_the_one_that_stood_in_for_it_takes_its_place_back() -> None:
    places = Places(grace_s=10)
    named(places, 0, bin_at(100, 1))
    assert named(places, 1, bin_at(104, 2)) == [1]
    assert named(places, 2, bin_at(104, 2), bin_at(100, 1)) == [2, 1]


def test_what_was_unseen_for_too_long_or_is_elsewhere_is_another_one() -> None:
    places = Places(grace_s=10)
    named(places, 0, bin_at(100, 1), bin_at(300, 2))
    assert named(places, 5, bin_at(180, 3), bin_at(100, 1)) == [3, 1]
    assert named(places, 10.1, bin_at(300, 4), bin_at(100, 1)) == [4, 1]


def test_another_class_on_the_same_track_is_still_the_object_and_a_stranger_keeps_its_number() -> None:
    places = Places(grace_s=10)
    named(places, 0, bin_at(100, 1))
    named(places, 5, bin_at(100, 2))
    assert named(places, 6, bin_at(100, 2, "bucket"), bin_at(100, 3, "person")) == [1, 3]


def test_what_of_the_dwell_may_be_missing_is_how_long_it_may_be_unseen() -> None:
    rules = {code: Catalogue.load().rule(code, {}) for code in ("open_bin", "unattended_flame")}
    assert all(isinstance(rule, StateRule) for rule in rules.values())
    assert {code: round(rule.grace_s, 6) for code, rule in rules.items() if isinstance(rule, StateRule)} == {
        "open_bin": 30,
        "unattended_flame": 12,
    }
