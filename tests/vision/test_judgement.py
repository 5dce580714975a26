"""One moment, one rule: tables of who violates what, and of all that is merely unknown."""

from __future__ import annotations

import pytest

from tests.vision.sightings import scene, seen
from vision.catalogue import Catalogue, Rule
from vision.judgement import ZONE_TRACK, judge
from vision.scene import Scene
from vision.zones import Zone

CATALOGUE = Catalogue.load()
EVERYWHERE = Zone("whole")
PERSON = seen("person", 200, 100, 300, 340)  # 240 px tall; the head is from 76 to 160


def verdicts(rule: Rule | str, now: Scene, zone: Zone = EVERYWHERE, offender: int | None = None) -> list[str]:
    rule = CATALOGUE.rule(rule) if isinstance(rule, str) else rule
    return [item.observation.verdict for item in judge(rule, now, zone, lambda track: track == offender)]


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], "violating"),
        ([seen("hat", 225, 80, 275, 130)], "compliant"),
        ([seen("hat", 225, 80, 275, 130, sure=0.2)], "unknown"),  # perhaps a hat
        ([seen("hat", 225, 250, 275, 300)], "violating"),  # in the hand
        ([seen("hat", 400, 80, 450, 130)], "violating"),  # somebody else's
    ],
)
def test_a_hat_counts_only_where_a_hat_belongs(others: list[object], expected: str) -> None:
    assert verdicts("no_hat", scene(PERSON, *others)) == [expected]


@pytest.mark.parametrize(
    "person",
    [
        seen("person", 200, 100, 230, 170),  # under 80 px: too small to judge
        seen("person", 200, 100, 300, 340, sure=0.3),
        seen("person", 200, 0, 300, 340),  # the head above the picture
        seen("person", 0, 100, 100, 340),  # half outside at the left
        seen("person", 560, 100, 640, 340),
    ],
)
def test_a_small_faint_or_cut_off_person_is_unknown(person: object) -> None:
    assert verdicts("no_hat", scene(person)) == ["unknown"]


def test_a_head_behind_somebody_nearer_is_unknown_and_the_nearer_one_is_judged() -> None:
    nearer = seen("person", 180, 90, 320, 358, track=2)
    assert verdicts("no_hat", scene(PERSON, nearer)) == ["unknown", "violating"]


def test_a_torso_that_goes_on_below_the_picture_is_unknown() -> None:
    assert verdicts("no_uniform", scene(seen("person", 200, 150, 300, 540))) == ["unknown"]


def test_a_uniform_on_the_torso_is_compliant() -> None:
    assert verdicts("no_uniform", scene(PERSON, seen("uniform", 205, 150, 295, 250))) == ["compliant"]


@pytest.mark.parametrize(("name", "expected"), [("no_mask", "violating"), ("mask", "compliant")])
def test_a_model_that_names_both_states_is_taken_at_its_word(name: str, expected: str) -> None:
    assert verdicts("no_mask", scene(seen(name, 100, 100, 160, 160))) == [expected]


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], "violating"),
        ([seen("person", 120, 60, 200, 300)], "compliant"),  # within one of his heights
        ([seen("person", 420, 60, 500, 300)], "violating"),  # 270 px away, 240 px tall
        ([seen("person", 120, 60, 200, 300, sure=0.2)], "unknown"),  # perhaps somebody is there
        ([seen("person", 120, 60, 200, 300, sure=0.2, track=-1)], "unknown"),
    ],
)
def test_a_flame_is_unattended_when_nobody_is_near(others: list[object], expected: str) -> None:
    assert verdicts("unattended_flame", scene(seen("fire", 100, 200, 150, 240), *others)) == [expected]


@pytest.mark.parametrize(("name", "expected"), [("open_bin", "violating"), ("closed_bin", "compliant")])
def test_a_bin_is_judged_by_its_state(name: str, expected: str) -> None:
    assert verdicts("open_bin", scene(seen(name, 100, 200, 150, 260))) == [expected]


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], "violating"),
        ([seen("cat", 95, 195, 145, 235, sure=0.5)], "unknown"),
        ([seen("cat", 95, 195, 145, 235, sure=0.1)], "violating"),
        ([seen("cat", 400, 195, 450, 235)], "violating"),
    ],
)
def test_a_rat_that_may_be_a_cat_is_unknown(others: list[object], expected: str) -> None:
    assert verdicts("rodent", scene(seen("rat", 100, 200, 140, 230), *others)) == [expected]


@pytest.mark.parametrize(
    ("holder", "expected"),
    [([PERSON], "violating"), ([], "compliant"), ([seen("person", 200, 100, 300, 340, sure=0.2)], "unknown")],
)
def test_a_telephone_counts_in_a_hand_and_not_on_the_table(holder: list[object], expected: str) -> None:
    assert verdicts("phone_use", scene(seen("cell phone", 240, 150, 260, 180), *holder)) == [expected]


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ([], "violating"),
        ([PERSON], "compliant"),
        ([seen("person", 200, 100, 300, 340, sure=0.2, track=-1)], "unknown"),
        ([seen("person", 500, 100, 600, 340)], "violating"),  # beside the post
    ],
)
def test_a_post_is_left_when_nobody_is_in_its_zone(there: list[object], expected: str) -> None:
    post = Zone("post", "duty", ((0.2, 0), (0.6, 0), (0.6, 1), (0.2, 1)))
    (judged,) = judge(CATALOGUE.rule("absent_post"), scene(*there), post)
    assert (judged.observation.track_id, judged.observation.verdict, judged.xyxy) == (ZONE_TRACK, expected, None)


def test_only_who_stands_in_the_zone_is_judged() -> None:
    right = Zone("right", "special", ((0.5, 0), (1, 0), (1, 1), (0.5, 1)))
    assert verdicts("intruder", scene(PERSON), right) == []
    assert verdicts("intruder", scene(PERSON), EVERYWHERE) == ["violating"]


def test_an_object_without_a_track_is_not_judged() -> None:
    assert verdicts("smoking", scene(seen("cigarette", 10, 10, 30, 30, track=-1))) == []


@pytest.mark.parametrize("code", ["no_hat", "unattended_flame", "phone_use"])
def test_nothing_is_known_where_a_class_was_not_looked_for_lately(code: str) -> None:
    rule = CATALOGUE.rule(code)
    now = scene(seen(rule.subjects[0], 200, 100, 300, 340), looked_for={rule.subjects[0]})
    assert verdicts(code, now) == ["unknown"]


def test_a_post_that_no_model_looks_at_is_not_judged_at_all() -> None:
    assert verdicts("absent_post", scene(looked_for={"rat"})) == []


def test_an_offender_stays_one_at_a_fainter_sight_and_nobody_else_becomes_one() -> None:
    rule = CATALOGUE.rule("no_mask", {"keep_confidence": 0.25})
    now = scene(seen("no_mask", 100, 100, 160, 160, sure=0.3, track=5))
    assert verdicts(rule, now, offender=5) == ["violating"]
    assert verdicts(rule, now, offender=6) == ["unknown"]
