"""The risk score of a site with its reasons: a sum of terms, weighted by configs/statistics/risk.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.statistics.measures import AlertFact, is_overdue, measure

TermName = Literal[
    "open_tier_1", "overdue", "late_pct", "repeats", "confirmed_tier_1", "coverage_short_pct", "records_missing"
]
TERMS: tuple[TermName, ...] = get_args(TermName)
DEFAULT = Path(__file__).resolve().parents[2] / "configs" / "statistics" / "risk.yaml"
FILE_BYTES_MAX = 64 * 1024


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Term(_Section):
    """``points`` for each unit of the value, never more than ``cap``."""

    name: TermName
    points: Annotated[float, Field(ge=0, le=1000)]
    cap: Annotated[float, Field(ge=0, le=1000)]
    docs: Annotated[str, Field(min_length=3, max_length=200)]


class RiskRules(_Section):
    """The terms, and the coverage (%) that is asked for."""

    docs: Annotated[str, Field(min_length=3, max_length=400)]
    coverage_pct_goal: Annotated[float, Field(ge=0, le=100)]
    terms: Annotated[list[Term], Field(min_length=1)]


@dataclass(frozen=True)
class Reason:
    """What a term adds: its value (a count or %) and the points."""

    name: TermName
    value: float
    points: float


@dataclass(frozen=True)
class Risk:
    """The score and what it is made of, the heaviest first; ``score`` is the sum of the points."""

    score: float
    reasons: list[Reason]


def load_rules(path: Path) -> RiskRules:
    """The rules in a file; raises ValueError as ``file: path: what is wrong``."""
    raw = path.read_bytes()[: FILE_BYTES_MAX + 1]
    if len(raw) > FILE_BYTES_MAX:
        raise ValueError(f"{path}: has more than {FILE_BYTES_MAX} bytes")
    try:
        rules = RiskRules.model_validate(yaml.safe_load(raw))
    except yaml.YAMLError:
        raise ValueError(f"{path}: is no YAML") from None
    except ValidationError as error:
        found = [f"{path}: {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ValueError("\n".join(found)) from None
    if len({term.name for term in rules.terms}) != len(rules.terms):
        raise ValueError(f"{path}: a term stands there twice")
    return rules


@cache
def risk_rules() -> RiskRules:
    """The rules that come with the product."""
    return load_rules(DEFAULT)


def values_of(
    facts: Sequence[AlertFact], coverage_pct: float | None, records_missing: int, rules: RiskRules, now: datetime
) -> dict[TermName, float]:
    """The value of each term for one site; no known coverage counts for nothing, for it may have no camera."""
    figures = measure(facts, now)
    first_tier = [fact for fact in facts if fact.tier == 1 and fact.outcome != "dismissed"]
    late = figures.closed - figures.closed_on_time
    short = max(0.0, rules.coverage_pct_goal - coverage_pct) if coverage_pct is not None else 0.0
    return {
        "open_tier_1": sum(fact.outcome == "pending" for fact in first_tier),
        "overdue": sum(is_overdue(fact, now) for fact in facts),
        "late_pct": 100 * late / figures.closed if figures.closed else 0.0,
        "repeats": figures.repeats,
        "confirmed_tier_1": len(first_tier),
        "coverage_short_pct": short,
        "records_missing": records_missing,
    }


def score(values: Mapping[TermName, float], rules: RiskRules) -> Risk:
    """The sum of min(cap, value x points), rounded to one decimal, with every term that adds something."""
    reasons = [
        Reason(term.name, round(values[term.name], 1), round(min(term.cap, values[term.name] * term.points), 1))
        for term in rules.terms
    ]
    shown = sorted((reason for reason in reasons if reason.points > 0), key=lambda reason: -reason.points)
    return Risk(round(sum(reason.points for reason in shown), 1), shown)
