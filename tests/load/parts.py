"""What the outbox and the centre's door take in a second of one core, each alone.

Everything runs in this process, one thing after the other; CPU time is what is divided by.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy.orm import Session

from server import box_api
from server.accounts import ensure_site
from server.database import make_engine, migrate, writing
from server.deps import AppState
from server.models import Box
from server.settings import Settings
from server.turns import Turns
from telemetry.batch import FIRST_PREVIOUS, BatchHeader, seal_batch, sha256_hex
from telemetry.messages import Reading
from telemetry.outbox import Outbox
from telemetry.signing import Signer

SIGNER = Signer.generate()
START = datetime(2026, 1, 1, tzinfo=UTC)


def readings(count: int, after: int) -> list[Reading]:
    return [
        Reading(
            sensor_id=f"sensor-{number % 200}", quantity="temperature", value=round(3 + number % 70 * 0.1, 1),
            unit="°C", observed_at=START + timedelta(seconds=10 * ((after + number) // 200)),
        )
        for number in range(count)
    ]  # fmt: skip


def rate(count: int, work: Callable[[], object]) -> dict[str, int]:
    """Readings a second of wall time and of CPU time."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    work()
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    return {"per_s": round(count / wall_s), "per_cpu_s": round(count / cpu_s)}


def bench_commit(folder: Path, per_commit: int, commits: int) -> dict[str, int]:
    """Outbox.commit, synced and sealed."""
    part = readings(per_commit, 0)
    with Outbox.open(folder / f"commit-{per_commit}.sqlite", "box-1", SIGNER, boot_id="boot") as outbox:
        return rate(per_commit * commits, lambda: [outbox.commit(part, []) for _ in range(commits)])


def bench_ingest(folder: Path, per_batch: int, batches: int, requests: int) -> dict[str, int]:
    """What POST /batches does behind the door: verify, open, journal, points, commit."""
    settings = Settings(data_dir=folder / f"centre-{per_batch}")
    migrate(settings)
    engine = make_engine(settings)
    with Session(writing(engine)) as db, db.begin():
        site = ensure_site(db, "bench")
        db.add(Box(id="box-1", name="b", site_id=site.id, public_key=SIGNER.public_key_b64, enrolled_at=START))
    previous, bodies, after = FIRST_PREVIOUS, [], 0
    for _ in range(requests):
        body = b""
        for _ in range(batches):
            header = BatchHeader(
                box_id="box-1", epoch="e", lane="readings", seq=after // per_batch + 1, previous_sha256=previous,
                created_at=START, count=per_batch, boot_id="boot",
            )  # fmt: skip
            raw = seal_batch(header, readings(per_batch, after), SIGNER)
            previous, body, after = sha256_hex(raw), body + raw, after + per_batch
        bodies.append(body)
    state = cast(AppState, SimpleNamespace(engine=engine, settings=settings, turns=Turns()))
    found = rate(after, lambda: [box_api._store(state, body) for body in bodies])
    engine.dispose()
    return found


def measure_parts(folder: Path) -> dict[str, Any]:
    """Records a second through each part, by how many come together."""
    return {
        "outbox_commit": {
            str(size): bench_commit(folder, size, commits) for size, commits in ((1, 500), (100, 400), (500, 120))
        },
        "ingest": {
            str(size): bench_ingest(folder, size, batches, requests)
            for size, batches, requests in ((1, 100, 4), (20, 50, 8), (500, 10, 16))
        },
    }
