"""How fast the list of alerts answers with a million alerts, on SQLite and on PostgreSQL; prints JSON.

    nice python -m tests.load.alert_list [ALERTS]

Each figure is of one page as the API answers it: 50 alerts and the counts per state, in one transaction, for people of
a site, a district and the whole instance. ``list_p95_ms`` and ``counts_p95_ms`` are its two parts. The alerts are made
in the database itself: 400 sites in 20 districts, of 100 alerts 94 closed.
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
from server.queries import counts, list_alerts
from server.settings import Settings
from tests.postgres_server import PostgresServer

ALERTS = 1_000_000
SITES, DISTRICTS = 400, 20
REPETITIONS = 20
PAGE = 50
STATES = (None, "open", "closed")
BOXES = """
INSERT INTO box (id, name, site_id, public_key, enrolled_at)
SELECT 'box-' || id, 'box', id, 'key', '2026-01-01 00:00:00' FROM site
"""
MANY = """
INSERT INTO alert (incident_id, site_id, box_id, kind, tier, state, source_id, source_name, place, opened_at,
                   deadline_at, data, version)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :alerts)
SELECT 'incident-' || i, (i * 319) % :sites + 1, 'box-' || ((i * 319) % :sites + 1), 'temperature_excursion', 1,
       CASE WHEN (i / 400 * 31) % 100 < 94 THEN 'closed' WHEN (i / 400 * 31) % 100 < 97 THEN 'open'
            WHEN (i / 400 * 31) % 100 < 99 THEN 'acknowledged' ELSE 'submitted' END,
       'cold-1', '冷藏库', '冷藏库 1', '2026-01-01 00:00:00', '2026-01-01 02:00:00',
       '{"limit_c": 8.0, "peak_c": 11.5}', 1
FROM n
"""


def fill(engine: Engine, alerts: int) -> dict[str, User]:
    """Make the sites and alerts; gives the viewers, who are not kept."""
    with Session(writing(engine), expire_on_commit=False) as db, db.begin():
        regions = [Region(level="district", name=f"district {number}") for number in range(DISTRICTS)]
        db.add_all(regions)
        db.flush()
        for region in regions:
            region.path = f"/{region.id}/"
        db.add_all(
            Site(name=f"site {number}", time_zone="Asia/Shanghai", region_id=regions[number % DISTRICTS].id)
            for number in range(SITES)
        )
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
    }


def measure(engine: Engine, viewers: dict[str, User], alerts: int) -> list[dict[str, object]]:
    """One row for each viewer, state and place in the list."""
    rows: list[dict[str, object]] = []
    for (who, viewer), state, before in product(viewers.items(), STATES, (None, alerts // 2)):

        def page(parts: tuple[list[float], list[float]]) -> None:
            with Session(engine) as db, db.begin():
                begun = time.perf_counter()
                found = list_alerts(db, viewer, state, PAGE, before)  # noqa: B023
                listed = time.perf_counter()
                counts(db, viewer)  # noqa: B023
                assert found, "each page has alerts"
                parts[0].append((listed - begun) * 1000)
                parts[1].append((time.perf_counter() - listed) * 1000)

        parts: tuple[list[float], list[float]] = ([], [])
        for _ in range(REPETITIONS):
            page(parts)
        both = [sum(pair) for pair in zip(*parts, strict=True)]
        rows.append(
            {
                "viewer": who, "state": state or "any", "from": "newest" if before is None else "middle",
                "p50_ms": round(statistics.median(both), 1), "p95_ms": p95(both), "list_p95_ms": p95(parts[0]),
                "counts_p95_ms": p95(parts[1]),
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
