"""What the doors of the statistics do: read the question, read the facts, arrange them. Raises Problem."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from server.deps import AppState, look_up
from server.models import User
from server.problems import Problem
from server.statistics.facts import Wanted, check_months, next_month, read_facts
from server.statistics.risk import risk_rules
from server.statistics.tables import Overview, Rank, arrange

DEFAULT_MONTHS = 3
DEFAULT_ZONE = "Asia/Shanghai"  # only for which month it is now, where nobody names one


def make_overview(state: AppState, user: User, wanted: Wanted, rank: Rank = "risk") -> Overview:
    """Every table that this person may see of what is wanted; raises Problem."""
    now, rules = datetime.now(UTC), risk_rules()
    facts = look_up(state, lambda db: read_facts(db, user, wanted, now))
    return arrange(facts, rules, months_of(wanted), now, rank)


def months_of(wanted: Wanted) -> list[str]:
    """The months as YYYY-MM."""
    found, month = [], wanted.first
    while month <= wanted.last:
        found.append(f"{month:%Y-%m}")
        month = next_month(month)
    return found


def wanted_of(first: str, last: str, kind: str, site_id: int | None, site_part: str) -> Wanted:
    """A question from texts: months as YYYY-MM, empty for the last three; raises Problem."""
    this = datetime.now(ZoneInfo(DEFAULT_ZONE)).date().replace(day=1)
    end = _month(last) if last else this
    begin = _month(first) if first else _months_before(end, DEFAULT_MONTHS - 1)
    check_months(begin, end)
    return Wanted(begin, end, kind, site_id, site_part)


def _month(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError as error:
        raise Problem(422, "st_period", "give months as YYYY-MM") from error


def _months_before(month: date, number: int) -> date:
    for _ in range(number):
        month = (month - timedelta(days=1)).replace(day=1)
    return month
