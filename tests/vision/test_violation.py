"""The violation machine: tables for what it must do, properties for what must hold whatever the camera's rate."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.violation import Closed, Observation, Opened, Verdict, ViolationMachine, ViolationRule

RULE = ViolationRule("no_mask", dwell_s=3, recover_s=10, window_share=0.6)
LETTERS: dict[str, Verdict] = {"v": "violating", "c": "compliant", "u": "unknown"}


def machine(incident_id: str | None = None, rule: ViolationRule = RULE) -> ViolationMachine:
    numbers = itertools.count(1)
    return ViolationMachine(rule, incident_id, new_id=lambda: f"incident-{next(numbers)}")


def play(
    target: ViolationMachine, script: str, *, fps: float = 5, start_s: float = 0, track_id: int = 1
) -> list[tuple[float, Opened | Closed]]:
    """One letter a frame: v, c, u, or . for nobody there. What happened and when, in seconds from the start."""
    happened = []
    for index, letter in enumerate(script):
        seen = [Observation(track_id, LETTERS[letter], 0.8)] if letter != "." else []
        outcome = target.observe(seen, start_s + index / fps)
        if outcome is not None:
            happened.append((round(index / fps, 6), outcome))
    return happened


def kinds(happened: Iterable[tuple[float, Opened | Closed]]) -> list[tuple[float, str]]:
    return [(at_s, type(outcome).__name__) for at_s, outcome in happened]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("v" * 15, []),
        ("v" * 16, [(3.0, "Opened")]),
        ("c" * 100, []),
        ("u" * 100, []),
        ("." * 100, []),
        ("vvvu" * 10, [(3.2, "Opened")]),  # unknown counts neither way
        ("vvc" * 10, [(3.0, "Opened")]),  # two thirds violate
        ("vc" * 50, []),  # half is not enough
        ("v" + "u" * 14 + "v" * 2, []),  # two glimpses at the ends of the dwell confirm nothing
        ("v" * 16 + "c" * 49, [(3.0, "Opened")]),
        ("v" * 16 + "c" * 50, [(3.0, "Opened"), (13.0, "Closed")]),
        ("v" * 16 + "." * 50, [(3.0, "Opened"), (13.0, "Closed")]),  # gone is over as well
        ("v" * 16 + "c" * 40 + "v" + "c" * 49, [(3.0, "Opened")]),  # a relapse starts the recovery anew
        ("v" * 16 + "u" * 200, [(3.0, "Opened")]),  # the offender merely turned away
        ("v" * 16 + "u" * 200 + "c" * 50, [(3.0, "Opened"), (53.0, "Closed")]),
        ("v" * 16 + "c" * 50 + "v" * 16, [(3.0, "Opened"), (13.0, "Closed"), (16.2, "Opened")]),
        ("c" * 50 + "v" * 16, [(11.8, "Opened")]),  # caught on the same track: 0.6 of the window
    ],
)
def test_what_is_seen_decides(script: str, expected: list[tuple[float, str]]) -> None:
    assert kinds(play(machine(), script)) == expected


def test_an_hour_of_the_same_violation_is_one_incident() -> None:
    assert kinds(play(machine(), "v" * 5 * 3600)) == [(3.0, "Opened")]


def test_the_incident_keeps_its_id_from_opening_to_closing_and_the_next_gets_another() -> None:
    happened = play(machine(), "v" * 16 + "c" * 50 + "v" * 16)
    assert [outcome.incident_id for _, outcome in happened] == ["incident-1", "incident-1", "incident-2"]


def test_an_opening_says_how_long_and_how_sure() -> None:
    _, opened = play(machine(), "v" * 16)[0]
    assert opened == Opened("incident-1", 1, pytest.approx(3.0), pytest.approx(0.8))


def test_blindness_forgets_a_half_made_judgement() -> None:
    target = machine()
    play(target, "v" * 14)
    target.blind()
    assert kinds(play(target, "v" * 16, start_s=2.8)) == [(3.0, "Opened")]


def test_a_gap_between_frames_is_not_watched_time() -> None:
    target = machine()
    play(target, "v" * 14)
    assert kinds(play(target, "v" * 16, start_s=2.6 + 2.1)) == [(3.0, "Opened")]


def test_nothing_closes_while_blind_and_recovery_starts_anew_after_it() -> None:
    target = machine()
    play(target, "v" * 16 + "c" * 40)
    target.blind()
    assert kinds(play(target, "c" * 51, start_s=500)) == [(10.0, "Closed")]


def test_a_clock_that_steps_back_is_a_gap_and_never_counts() -> None:
    target = machine()
    play(target, "v" * 14, start_s=100)
    assert kinds(play(target, "v" * 16, start_s=50)) == [(3.0, "Opened")]


def test_during_the_cool_down_nothing_is_announced_and_after_it_what_still_lasts_is() -> None:
    rule = ViolationRule("no_mask", dwell_s=3, recover_s=10, window_share=0.6, cool_down_s=20)
    target = machine(rule=rule)
    happened = play(target, "v" * 16 + "c" * 50 + "v" * 200)
    assert kinds(happened) == [(3.0, "Opened"), (13.0, "Closed"), (33.0, "Opened")]


def test_a_slow_camera_says_itself_what_a_gap_is() -> None:
    every_four_seconds = {"script": "v" * 10, "fps": 0.25}
    slow = ViolationRule("no_mask", dwell_s=10, recover_s=10, window_share=0.6, gap_s_max=8)
    assert kinds(play(machine(rule=slow), **every_four_seconds)) == [(12.0, "Opened")]
    usual = ViolationRule("no_mask", dwell_s=10, recover_s=10, window_share=0.6)
    assert play(machine(rule=usual), **every_four_seconds) == []


def test_the_machine_knows_who_holds_the_incident_open() -> None:
    target = machine()
    play(target, "v" * 16)
    assert (target.is_offender(1), target.is_offender(2)) == (True, False)
    play(target, "c" * 2, start_s=3.2)
    assert not target.is_offender(1)


def test_after_a_restart_the_open_incident_goes_on_and_closes_under_its_id() -> None:
    target = machine("from-before")
    assert play(target, "v" * 100) == []
    assert play(target, "c" * 50, start_s=20) == [(9.8, Closed("from-before"))]


def test_of_several_offenders_the_surest_gives_the_evidence_and_one_incident_is_opened() -> None:
    target = machine()
    outcomes = [
        target.observe([Observation(1, "violating", 0.5), Observation(2, "violating", 0.9)], i / 5) for i in range(100)
    ]
    opened = [outcome for outcome in outcomes if outcome]
    assert [(type(o), o.incident_id, getattr(o, "track_id", None)) for o in opened] == [(Opened, "incident-1", 2)]


def test_the_incident_stays_open_until_the_last_offender_has_recovered() -> None:
    target = machine()
    happened = []
    for i in range(200):
        first: Verdict = "violating" if i < 20 else "compliant"
        second: Verdict = "violating" if i < 60 else "compliant"
        outcome = target.observe([Observation(1, first, 0.8), Observation(2, second, 0.8)], i / 5)
        happened += [(i / 5, type(outcome).__name__)] if outcome else []
    assert happened == [(3.0, "Opened"), (pytest.approx(59 / 5 + 10), "Closed")]


def test_somebody_else_who_is_unknown_does_not_hold_the_incident_open() -> None:
    target = machine()
    play(target, "v" * 16)
    far_away = [Observation(9, "unknown", 0.2)]
    outcomes = [target.observe([Observation(1, "compliant", 0.8), *far_away], 3.2 + i / 5) for i in range(60)]
    assert [type(outcome) for outcome in outcomes if outcome] == [Closed]


def test_a_short_visit_by_many_people_in_turn_confirms_nothing() -> None:
    target = machine()
    outcomes = [target.observe([Observation(i // 5, "violating", 0.9)], i / 5) for i in range(500)]
    assert not any(outcomes)


def test_people_who_left_are_forgotten() -> None:
    target = machine()
    for i in range(1000):
        target.observe([Observation(i, "compliant", 0.9)], i / 5)
    for i in range(1000, 1020):
        target.observe([], i / 5)
    assert (target._history, target._first_s) == ({}, {})


def test_offenders_who_left_during_a_long_incident_are_forgotten() -> None:
    target = machine("open")
    for i in range(1000):
        target.observe([Observation(i, "violating", 0.9)], i / 5)
    assert len(target._offenders) <= 52


@pytest.mark.parametrize("rule", [(0, 1, 0.5), (1, 0, 0.5), (1, 1, 0), (1, 1, 1.1), (1, 1, 1, -1), (1, 1, 1, 0, 0)])
def test_a_rule_that_cannot_work_is_refused(rule: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        ViolationRule("no_mask", *rule)


rates = st.sampled_from([1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 25.0, 30.0])


@settings(deadline=None)
@given(rates, st.floats(1, 8), st.floats(1, 20))
def test_confirmation_and_recovery_take_the_same_seconds_at_any_frame_rate(
    fps: float, dwell_s: float, recover_s: float
) -> None:
    rule = ViolationRule("no_mask", dwell_s, recover_s, 0.6)
    violating = int((dwell_s + 2) * fps) + 2
    happened = play(machine(rule=rule), "v" * violating + "c" * (int((recover_s + 2) * fps) + 2), fps=fps)
    (opened_s, opened), (closed_s, closed) = happened
    assert isinstance(opened, Opened)
    assert isinstance(closed, Closed)
    assert dwell_s - 1e-3 <= opened_s <= dwell_s + 1 / fps + 1e-3
    last_violating_s = (violating - 1) / fps
    assert recover_s - 1e-3 <= closed_s - last_violating_s <= recover_s + 1 / fps + 1e-3


def scripts(letters: str) -> st.SearchStrategy[str]:
    return st.text(letters, max_size=150)


@settings(deadline=None)
@given(scripts("cu."), rates)
def test_without_a_violating_judgement_nothing_ever_opens(script: str, fps: float) -> None:
    assert play(machine(), script, fps=fps) == []


@settings(deadline=None)
@given(scripts("vcu."), rates)
def test_openings_and_closings_take_turns_and_an_opening_needs_a_dwell(script: str, fps: float) -> None:
    happened = play(machine(), script, fps=fps)
    names: Sequence[str] = [name for _, name in kinds(happened)]
    assert all(name == ("Opened", "Closed")[index % 2] for index, name in enumerate(names))
    assert all(at_s >= RULE.dwell_s - 1e-3 for at_s, _ in happened)
    opened_s = [at_s for at_s, name in kinds(happened) if name == "Opened"]
    assert all(later - earlier >= RULE.recover_s for earlier, later in itertools.pairwise(opened_s))


@settings(deadline=None)
@given(st.lists(st.sampled_from(["v", "c", "u", ".", "blind", "gap"]), max_size=200))
def test_blindness_and_gaps_at_any_time_never_open_or_close_by_themselves(steps: list[str]) -> None:
    target, now_s = machine(), 0.0
    for step in steps:
        before = target.incident_id
        if step == "blind":
            target.blind()
            assert target.incident_id == before
            continue
        now_s += 5.0 if step == "gap" else 0.2
        outcome = target.observe([Observation(1, LETTERS[step], 0.9)] if step in LETTERS else [], now_s)
        if step == "gap":
            assert outcome is None
