"""The figures, calculated by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.statistics.measures import AlertFact, measure
from server.statistics.outcome import outcome_of
from server.statistics.risk import DEFAULT, TERMS, load_rules, risk_rules, score, values_of

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=20)


def fact(alert_id: int, closed_after_h: float | None = None, **changes: Any) -> AlertFact:
    fields: dict[str, Any] = {
        "alert_id": alert_id, "site_id": 1, "kind": "no_mask", "tier": 2, "month": "2026-01",
        "outcome": "pending" if closed_after_h is None else "closed", "opened_at": START,
        "deadline_at": START + timedelta(hours=24),
        "closed_at": None if closed_after_h is None else START + timedelta(hours=closed_after_h),
    }  # fmt: skip
    return AlertFact(**{**fields, **changes})


def test_ten_alerts_counted_by_hand() -> None:
    facts = [fact(1, 2.0), fact(2, 4.0), fact(3, 24.0), fact(4, 30.0), fact(5, 50.0)]  # the third in the last second
    facts += [fact(6), fact(7, deadline_at=NOW + timedelta(hours=1)), fact(8, repeat=True)]
    facts += [fact(9, outcome="dismissed"), fact(10, outcome="dismissed")]
    found = measure(facts, NOW)
    assert (found.alerts, found.confirmed, found.closed, found.closed_on_time) == (10, 8, 5, 3)
    assert (found.rectified, found.rectified_on_time) == (5 / 8, 3 / 8)
    assert found.false_alarm_rate == 2 / 7  # of seven decided
    assert (found.repeat_rate, found.median_h, found.overdue) == (1 / 8, 24.0, 2)


def test_nothing_to_divide_by_is_no_figure_and_not_zero() -> None:
    found = measure([], NOW)
    assert (found.rectified, found.rectified_on_time, found.false_alarm_rate, found.repeat_rate) == (None,) * 4
    assert found.median_h is None
    assert measure([fact(1, outcome="dismissed")], NOW).rectified is None


@pytest.mark.parametrize(
    ("state", "outcome"),
    [("open", "pending"), ("rectifying", "pending"), ("rejected", "pending"), ("submitted", "pending"),
     ("closed", "closed"), ("dismissed", "dismissed")],
)  # fmt: skip
def test_each_state_counts_as_one_outcome(state: str, outcome: str) -> None:
    assert outcome_of(state) == outcome


def test_the_risk_score_is_the_sum_of_capped_terms_and_names_each() -> None:
    rules = risk_rules()
    facts = [
        fact(1, tier=1, deadline_at=NOW + timedelta(days=1)),  # unfinished tier I
        fact(2), fact(3),  # two overdue
        fact(4, 2.0), fact(5, 30.0),  # of two closed one late: 50 %
        fact(6, 1.0, repeat=True, tier=1),
    ]  # fmt: skip
    values = values_of(facts, 70.0, 4, rules, NOW)
    assert values == {
        "open_tier_1": 1, "overdue": 2, "late_pct": 100 / 3, "repeats": 1, "confirmed_tier_1": 2,
        "coverage_short_pct": 20.0, "records_missing": 4,
    }  # fmt: skip
    risk = score(values, rules)
    points = {reason.name: reason.points for reason in risk.reasons}
    assert points == {
        "open_tier_1": 10, "overdue": 10, "late_pct": 6.7, "repeats": 2, "confirmed_tier_1": 4,
        "coverage_short_pct": 6.0, "records_missing": 4,
    }  # fmt: skip
    assert risk.score == 42.7


def test_a_site_without_anything_has_no_risk_and_no_reason() -> None:
    risk = score(values_of([], None, 0, risk_rules(), NOW), risk_rules())
    assert (risk.score, risk.reasons) == (0.0, [])


@given(st.dictionaries(st.sampled_from(TERMS), st.floats(0, 1e6), min_size=len(TERMS)))
def test_no_score_exceeds_the_sum_of_the_caps_and_the_reasons_add_up(values: dict[Any, float]) -> None:
    rules = risk_rules()
    risk = score(values, rules)
    assert 0 <= risk.score <= sum(term.cap for term in rules.terms)
    assert risk.score == pytest.approx(sum(reason.points for reason in risk.reasons), abs=0.051)


def test_rules_with_an_unknown_term_or_one_twice_are_refused_with_their_place(tmp_path: Any) -> None:
    text = DEFAULT.read_text("utf-8")
    broken = tmp_path / "risk.yaml"
    for old, new, said in (
        ("name: overdue", "name: fantasy", "terms.1.name"),
        ("name: overdue", "name: repeats", "twice"),
    ):
        broken.write_text(text.replace(old, new, 1), "utf-8")
        with pytest.raises(ValueError, match=said):
            load_rules(broken)
