"""The figures arranged: in all, by month, kind, region and site, with the sites' risk and their ranking. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from server.statistics.facts import Facts
from server.statistics.measures import AlertFact, Key, Measures, grouped, measure
from server.statistics.risk import Risk, RiskRules, score, values_of

By = Literal["month", "kind", "region", "site"]
BYS: tuple[By, ...] = get_args(By)
Rank = Literal["risk", "alerts", "rectified", "on_time", "repeats"]
RANKS: tuple[Rank, ...] = get_args(Rank)


@dataclass(frozen=True)
class Line:
    """One line of a table: key (month, kind, id of region or site), name, depth in the tree, figures."""

    key: str
    name: str
    measures: Measures
    coverage_pct: float | None
    depth: int = 0
    sites: int = 0
    risk: Risk | None = None


@dataclass(frozen=True)
class Overview:
    """All tables of one question. ``coverage_counted``: there were not too many reports to read."""

    total: Line
    tables: dict[By, list[Line]]
    coverage_counted: bool


def arrange(facts: Facts, rules: RiskRules, months: Sequence[str], now: datetime, rank: Rank = "risk") -> Overview:
    """Every table of the facts; *months* is the order of the first, also those without any alert."""
    by_month = grouped(facts.alerts, lambda fact: fact.month)
    by_kind = grouped(facts.alerts, lambda fact: fact.kind)
    month_sums, kind_sums = _sums(facts, lambda key: key[2]), _sums(facts, lambda key: key[1])
    kinds = sorted({*by_kind, *kind_sums}, key=lambda kind: (-len(by_kind.get(kind, [])), kind))
    tables: dict[By, list[Line]] = {
        "month": [
            Line(month, month, measure(by_month.get(month, []), now), _pct([month_sums.get(month)])) for month in months
        ],
        "kind": [Line(kind, kind, measure(by_kind.get(kind, []), now), _pct([kind_sums.get(kind)])) for kind in kinds],
        "region": _regions(facts, now),
        "site": ranked(_sites(facts, rules, now), rank),
    }
    total = Line("", "", measure(facts.alerts, now), _pct(facts.coverage.values()), sites=len(facts.sites))
    return Overview(total, tables, facts.coverage_counted)


def ranked(lines: Iterable[Line], rank: Rank) -> list[Line]:
    """The sites with what needs attention first: the highest risk, or the lowest share; without a figure last."""

    def weight(line: Line) -> tuple[bool, float]:
        value: float | None
        if rank == "risk":
            value = -line.risk.score if line.risk else None
        elif rank == "alerts":
            value = -float(line.measures.confirmed)
        elif rank == "repeats":
            value = -line.measures.repeat_rate if line.measures.repeat_rate is not None else None
        else:
            value = line.measures.rectified if rank == "rectified" else line.measures.rectified_on_time
        return value is None, value or 0.0

    return sorted(lines, key=lambda line: (*weight(line), line.name))


def _sites(facts: Facts, rules: RiskRules, now: datetime) -> list[Line]:
    by_site = grouped(facts.alerts, lambda fact: fact.site_id)
    sums = _sums(facts, lambda key: key[0])
    found = []
    for site in facts.sites.values():
        alerts = by_site.get(site.site_id, [])
        coverage = _pct([sums.get(site.site_id)])
        values = values_of(alerts, coverage, facts.records_missing.get(site.site_id, 0), rules, now)
        found.append(
            Line(str(site.site_id), site.name, measure(alerts, now), coverage, sites=1, risk=score(values, rules))
        )
    return found


def _regions(facts: Facts, now: datetime) -> list[Line]:
    """Each region with all its subtree, in the order of the tree."""
    sums = _sums(facts, lambda key: key[0])
    by_region: dict[int, list[AlertFact]] = {}
    for fact in facts.alerts:
        for region in facts.sites[fact.site_id].regions:
            by_region.setdefault(region, []).append(fact)
    paths = {site.regions[: depth + 1] for site in facts.sites.values() for depth in range(len(site.regions))}
    found = []
    for path in sorted(paths, key=lambda path: [facts.regions[region] for region in path]):
        inside = {site.site_id for site in facts.sites.values() if site.regions[: len(path)] == path}
        coverage = _pct(sums.get(site_id) for site_id in inside)
        figures = measure(by_region.get(path[-1], []), now)
        found.append(Line(str(path[-1]), facts.regions[path[-1]], figures, coverage, len(path) - 1, len(inside)))
    return found


def _sums(facts: Facts, part: Callable[[tuple[int, str, str]], Key]) -> dict[Key, tuple[float, float]]:
    """Due and judged seconds by one part of their key."""
    found: dict[Key, tuple[float, float]] = {}
    for key, (due_s, judged_s) in facts.coverage.items():
        before = found.get(part(key), (0.0, 0.0))
        found[part(key)] = (before[0] + due_s, before[1] + judged_s)
    return found


def _pct(sums: Iterable[tuple[float, float] | None]) -> float | None:
    """Judged of due in %, rounded down to one decimal; None where nothing was due."""
    known = [item for item in sums if item is not None]
    due_s, judged_s = sum(due for due, _ in known), sum(judged for _, judged in known)
    return int(1000 * judged_s / due_s) / 10 if due_s > 0 else None
