"""How fast the list of alerts answers with a million alerts, on SQLite and on PostgreSQL; prints JSON.

    nice python -m tests.load.alert_list [ALERTS]

Each figure is of one page as the API answers it: 50 alerts and the counts per state, in one transaction, for people of
a site, a district and the whole instance, and for those of a place with few alerts; also narrowed to what is rare.
``list_p95_ms`` and ``counts_p95_ms`` are its two parts. The alerts are made in the database itself: 400 sites in 20
districts, of 100 alerts 94 closed; of 10,000 one is of a rare kind, one of a rare tier, one of a small site.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from server.database import make_engine, migrate, writing
from server.models import Region, Site, User
from server.queries import Narrowing, counts, list_alerts
from server.settings import Settings
from tests.postgres_server import PostgresServer

ALERTS = 1_000_000
SITES, DISTRICTS = 400, 20
REPETITIONS = 20
PAGE = 50
STATES = (None, "open", "closed")
SMALL_SITE = "幼儿园"
NARROWED = {
    "": Narrowing(),
    "rare kind": Narrowing(kind="rodent"),
    "no such kind": Narrowing(kind="smoking"),
    "usual kind": Narrowing(kind="temperature_excursion"),
    "rare tier": Narrowing(tier=1),
    "usual tier": Narrowing(tier=2),
    "small site": Narrowing(site_part=SMALL_SITE),
    "small district": Narrowing(region_id=DISTRICTS + 1),
    "district": Narrowing(region_id=4),
    "rare kind and tier": Narrowing(kind="rodent", tier=1),
}
BOXES = """
INSERT INTO box (id, name, site_id, public_key, enrolled_at)
SELECT 'box-' || id, 'box', id, 'key', '2026-01-01 00:00:00' FROM site
"""
MANY = """
INSERT INTO alert (incident_id, site_id, box_id, kind, tier, state, source_id, source_name, place, opened_at,
                   deadline_at, data, version)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :alerts)
SELECT 'incident-' || i, CASE i % 10000 WHEN 55 THEN :sites + 1 ELSE (i * 319) % :sites + 1 END,
       'box-' || CASE i % 10000 WHEN 55 THEN :sites + 1 ELSE (i * 319) % :sites + 1 END,
       CASE i % 10000 WHEN 77 THEN 'rodent' ELSE 'temperature_excursion' END, CASE i % 10000 WHEN 33 THEN 1 ELSE 2 END,
       CASE WHEN (i / 400 * 31) % 100 < 94 THEN 'closed' WHEN (i / 400 * 31) % 100 < 97 THEN 'open'
            WHEN (i / 400 * 31) % 100 < 99 THEN 'acknowledged' ELSE 'submitted' END,
       'cold-1', '冷藏库', '冷藏库 1', '2026-01-01 00:00:00', '2026-01-01 02:00:00',
       '{"limit_c": 8.0, "peak_c": 11.5}', 1
FROM n
"""


def fill(engine: Engine, alerts: int) -> dict[str, User]:
    """Make the sites and alerts; gives the viewers, who are not kept."""
    with Session(writing(engine), expire_on_commit=False) as db, db.begin():
        regions = [Region(level="district", name=f"district {number}") for number in range(DISTRICTS + 1)]
        db.add_all(regions)
        db.flush()
        for region in regions:
            region.path = f"/{region.id}/"
        db.add_all(
            Site(name=f"site {number}", time_zone="Asia/Shanghai", region_id=regions[number % DISTRICTS].id)
            for number in range(SITES)
        )
        db.flush()
        db.add(Site(name=SMALL_SITE, time_zone="Asia/Shanghai", region_id=regions[DISTRICTS].id))
        db.flush()
        if engine.dialect.name == "postgresql":
            db.execute(text("SET LOCAL statement_timeout = 0"))
            db.execute(text("ALTER TABLE alert DISABLE TRIGGER alert_notice"))
        db.execute(text(BOXES))
        db.execute(text(MANY), {"alerts": alerts, "sites": SITES})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    return {
        "site": User(role="staff", site_id=7),
        "district": User(role="regulator", region=regions[3]),
        "whole instance": User(role="regulator"),
        "small site": User(role="staff", site_id=SITES + 1),
        "small district": User(role="regulator", region=regions[DISTRICTS]),
    }


def measure(engine: Engine, viewers: dict[str, User], alerts: int) -> list[dict[str, object]]:
    """One row for each viewer, state, place in the list and narrowing."""
    rows: list[dict[str, object]] = []
    for (who, viewer), state, before, (of, narrowing) in product(
        viewers.items(), STATES, (None, alerts // 2), NARROWED.items()
    ):
        if of and before is not None:
            continue

        def page(parts: tuple[list[float], list[float]]) -> None:
            with Session(engine) as db, db.begin():
                begun = time.perf_counter()
                found = list_alerts(db, viewer, state, PAGE, before, narrowing)  # noqa: B023
                listed = time.perf_counter()
                counts(db, viewer, narrowing)  # noqa: B023
                assert found or of or who.startswith("small"), "each page has alerts"  # noqa: B023
                parts[0].append((listed - begun) * 1000)
                parts[1].append((time.perf_counter() - listed) * 1000)

        parts: tuple[list[float], list[float]] = ([], [])
        for _ in range(REPETITIONS):
            page(parts)
        both = [sum(pair) for pair in zip(*parts, strict=True)]
        rows.append(
            {
                "viewer": who, "state": state or "any", "from": "newest" if before is None else "middle",
                "narrowed": of, "p50_ms": round(statistics.median(both), 1), "p95_ms": p95(both),
                "list_p95_ms": p95(parts[0]), "counts_p95_ms": p95(parts[1]),
            }
        )  # fmt: skip
    return rows


def p95(values_ms: list[float]) -> float:
    return round(statistics.quantiles(values_ms, n=20)[-1], 1)


@contextmanager
def sqlite_record(folder: Path) -> Iterator[Settings]:
    yield Settings(data_dir=folder)


@contextmanager
def postgres_record(folder: Path) -> Iterator[Settings]:
    server = PostgresServer()
    try:
        yield Settings(data_dir=folder, database=server.new_record())
    finally:
        server.stop()


def main() -> int:
    alerts = int(sys.argv[1]) if len(sys.argv) > 1 else ALERTS
    told: dict[str, object] = {"alerts": alerts, "load_before": os.getloadavg()[0]}
    for name, opened in (("sqlite", sqlite_record), ("postgresql", postgres_record)):
        with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as settings:
            migrate(settings)
            engine = make_engine(settings)
            begun = time.monotonic()
            viewers = fill(engine, alerts)
            filled_s = round(time.monotonic() - begun, 1)
            told[name] = {"filled_s": filled_s, "pages": measure(engine, viewers, alerts)}
            engine.dispose()
    told["load_after"] = os.getloadavg()[0]
    sys.stdout.write(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
