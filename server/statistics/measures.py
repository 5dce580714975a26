"""The figures over alerts, as pure definitions: 整改率, 按期整改率, false-alarm rate, repeat rate, hours to closure.

An alert is *confirmed* unless it was dismissed as a false alarm. Rates are shares of 1, None where there is nothing to
divide by: no alert is not the same as none closed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import TypeVar

from server.statistics.outcome import Outcome

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class AlertFact:
    """What is counted of an alert. ``month`` is YYYY-MM by its site's clock; ``closed_at`` only when it is closed;
    ``repeat``: the life cycle found that it came again."""

    alert_id: int
    site_id: int
    kind: str
    tier: int
    month: str
    outcome: Outcome
    opened_at: datetime
    deadline_at: datetime
    closed_at: datetime | None
    repeat: bool = False


@dataclass(frozen=True)
class Measures:
    """The figures of some alerts; hours from opening to the accepted repair."""

    alerts: int
    confirmed: int
    dismissed: int
    closed: int
    closed_on_time: int
    overdue: int
    repeats: int
    median_h: float | None

    @property
    def rectified(self) -> float | None:
        """整改率 = closed / confirmed."""
        return _share(self.closed, self.confirmed)

    @property
    def rectified_on_time(self) -> float | None:
        """按期整改率 = closed on time / confirmed."""
        return _share(self.closed_on_time, self.confirmed)

    @property
    def false_alarm_rate(self) -> float | None:
        """Dismissed of all that was decided: closed or dismissed. What is pending may still be either."""
        return _share(self.dismissed, self.dismissed + self.closed)

    @property
    def repeat_rate(self) -> float | None:
        """Repeats / confirmed."""
        return _share(self.repeats, self.confirmed)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def measure(facts: Iterable[AlertFact], now: datetime) -> Measures:
    """The figures of these alerts. On time: closed no later than the deadline in force when it was closed."""
    every = list(facts)
    confirmed = [fact for fact in every if fact.outcome != "dismissed"]
    hours = [(at - fact.opened_at).total_seconds() / 3600 for fact in confirmed if (at := fact.closed_at) is not None]
    return Measures(
        alerts=len(every),
        confirmed=len(confirmed),
        dismissed=len(every) - len(confirmed),
        closed=len(hours),
        closed_on_time=sum(fact.closed_at is not None and fact.closed_at <= fact.deadline_at for fact in confirmed),
        overdue=sum(is_overdue(fact, now) for fact in confirmed),
        repeats=sum(fact.repeat for fact in confirmed),
        median_h=median(hours) if hours else None,
    )


def is_overdue(fact: AlertFact, now: datetime) -> bool:
    """Not finished and past its deadline."""
    return fact.outcome == "pending" and now > fact.deadline_at


def grouped(facts: Iterable[AlertFact], key: Callable[[AlertFact], Key]) -> dict[Key, list[AlertFact]]:
    """The alerts by *key*, in order of their first."""
    found: dict[Key, list[AlertFact]] = {}
    for fact in facts:
        found.setdefault(key(fact), []).append(fact)
    return found
