"""What falls due of an alert if nobody acts, one step after another. Pure: time comes in as an argument.

A step is known by its name and by when it fell due, so that it is done once, however late somebody looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from server.life_cycle.rules import Rules
from server.life_cycle.state import WITH_SITE, State

StepName = Literal["confirm", "acknowledge", "rectify", "review", "yellow_card", "red_card"]
CARDS: frozenset[StepName] = frozenset({"yellow_card", "red_card"})


@dataclass(frozen=True, order=True)
class Step:
    """A deadline that passed without its act, or a card; ``due_at`` is when."""

    due_at: datetime
    name: StepName


@dataclass(frozen=True)
class Standing:
    """What decides on the steps of an alert. ``confirm_by_at`` is None when nothing has to be confirmed any more,
    ``review_by_at`` where reviewers have no deadline."""

    state: State
    tier: int
    level: str
    confirm_by_at: datetime | None
    acknowledge_by_at: datetime | None
    rectify_by_at: datetime
    review_by_at: datetime | None = None


def next_step(standing: Standing, done: Set[Step], rules: Rules) -> Step | None:
    """The first step that is not done yet, due or still to come; None when there is none without a move of people."""
    return min(_steps(standing, done, rules), default=None)


def _steps(standing: Standing, done: Set[Step], rules: Rules) -> Iterator[Step]:
    if standing.state == "submitted" and standing.review_by_at is not None:
        yield from _climb("review", standing.review_by_at, standing, done, rules)
    if standing.state not in WITH_SITE:
        return
    if standing.confirm_by_at is not None:
        yield from {Step(standing.confirm_by_at, "confirm")} - done
    if standing.state == "open" and standing.acknowledge_by_at is not None:
        yield from {Step(standing.acknowledge_by_at, "acknowledge")} - done
    yield from _climb("rectify", standing.rectify_by_at, standing, done, rules)
    tier = rules.tier(standing.tier)
    if tier.cards is None:
        return
    given = {step.name for step in done}
    for name, hours in (("yellow_card", tier.cards.yellow_after_h), ("red_card", tier.cards.red_after_h)):
        if name not in given:
            yield Step(standing.rectify_by_at + timedelta(hours=hours), name)  # type: ignore[arg-type]


def _climb(name: StepName, by_at: datetime, standing: Standing, done: Set[Step], rules: Rules) -> Iterator[Step]:
    """One level up at the deadline, and another one each time that the span has passed again."""
    raised = 0
    every = timedelta(hours=rules.tier(standing.tier).escalate_every_h)
    while Step(by_at + raised * every, name) in done:
        raised += 1
    if raised == 0 or rules.level_above(standing.level) != standing.level:
        yield Step(by_at + raised * every, name)
