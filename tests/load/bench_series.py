"""How fast the carrier fills a series store, beside InfluxDB's own /write with the same points; prints JSON.

    python -m tests.load.bench_series [READINGS]

``process`` is the CPU of this process (reading the journal, verifying signatures, making lines), ``influxd`` that of
the database; seconds of CPU are of one core.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from pydantic import SecretStr
from sqlalchemy import Engine, insert
from sqlalchemy.orm import Session

from server.accounts import ensure_site
from server.database import make_engine, migrate, writing
from server.models import Box, StoredBatch
from server.series.carrier import Carrier
from server.series.journal import read_portions
from server.series.line_protocol import lines_of
from server.series.port import POINTS_PER_WRITE_MAX, Point
from server.series.settings import Influx1Series, RecordSeries
from server.series.stores import open_store, ready
from server.series.upkeep import rebuild
from server.settings import Settings
from telemetry.batch import FIRST_PREVIOUS, BatchHeader, seal_batch, sha256_hex
from telemetry.messages import Reading
from telemetry.signing import Signer
from tests.series_servers import DATABASE, PASSWORD, USER, InfluxServer

READINGS, BATCH, SENSORS = 200_000, 500, 40
START = datetime(2026, 1, 1, tzinfo=UTC)


def fill_journal(engine: Engine, readings: int) -> None:
    """One box with 40 sensors, one reading a second each, 500 readings a batch."""
    signer, previous = Signer.generate(), FIRST_PREVIOUS
    with Session(writing(engine)) as db, db.begin():
        site = ensure_site(db, "A")
        db.add(Box(id="box-1", name="b", site_id=site.id, public_key=signer.public_key_b64, enrolled_at=START))
        db.flush()
        for seq in range(1, readings // BATCH + 1):
            records = [reading_of(number) for number in range((seq - 1) * BATCH, seq * BATCH)]
            header = BatchHeader(
                box_id="box-1", epoch="e", lane="readings", seq=seq, previous_sha256=previous, created_at=START,
                count=BATCH, boot_id="boot",
            )  # fmt: skip
            raw = seal_batch(header, records, signer)
            row = {"box_id": "box-1", "epoch": "e", "lane": "readings", "seq": seq, "count": BATCH, "raw": raw}
            digests = {"sha256": sha256_hex(raw), "previous_sha256": previous, "received_at": START}
            db.execute(insert(StoredBatch), {**row, **digests})
            previous = sha256_hex(raw)


def reading_of(number: int) -> Reading:
    return Reading(
        sensor_id=f"cold-{number % SENSORS}", quantity="temperature", value=round(-18 + number % 97 / 10, 1), unit="°C",
        observed_at=START + timedelta(seconds=number // SENSORS),
    )  # fmt: skip


def cpu_s(pid: int) -> float:
    """User and system CPU of a process so far (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(work: Callable[[], object], readings: int, server_pid: int | None) -> dict[str, float]:
    wall, own = time.perf_counter(), time.process_time()
    server = cpu_s(server_pid) if server_pid else 0.0
    work()
    wall_s, own_s = time.perf_counter() - wall, time.process_time() - own
    return {
        "points_per_s": round(readings / wall_s),
        "wall_s": round(wall_s, 2),
        "process_cpu_s": round(own_s, 2),
        "points_per_process_cpu_s": round(readings / own_s),
        "influxd_cpu_s": round(cpu_s(server_pid) - server, 2) if server_pid else 0.0,
    }


def write_bodies(server: InfluxServer, bodies: list[bytes], headers: dict[str, str]) -> None:
    with httpx.Client(base_url=server.url, auth=(USER, PASSWORD), trust_env=False, timeout=60) as client:
        for body in bodies:
            answer = client.post("/write", params={"db": DATABASE, "precision": "ms"}, content=body, headers=headers)
            assert answer.status_code == 204, answer.text


def bench(folder: Path, readings: int) -> dict[str, dict[str, float]]:
    settings = Settings(data_dir=folder / "record")
    migrate(settings)
    engine = make_engine(settings)
    server = InfluxServer(folder / "influx")
    try:
        fill_journal(engine, readings)
        influx = Influx1Series(
            type="influxdb1", url=server.url, database=DATABASE, username=USER, password=SecretStr(PASSWORD)
        )
        found = {}
        with closing(open_store(influx, engine)) as store:
            ready(engine, influx, store)
            carrier = Carrier(engine, store)

            def carry() -> None:
                while carrier.carry():
                    pass

            found["carrier_to_influxdb"] = measure(carry, readings, server.process.pid)
            stored = sum(extent.points for extent in store.extents().values())
            assert stored == readings, stored
            points: list[Point] = []
            with Session(engine) as db:
                for portion in read_portions(db):
                    points += [point for _, some in portion.points for point in some]
            slices = [
                points[start : start + POINTS_PER_WRITE_MAX] for start in range(0, readings, POINTS_PER_WRITE_MAX)
            ]
            store.clear()
            found["store_write_only"] = measure(
                lambda: [store.write(some) for some in slices], readings, server.process.pid
            )
            plain = ["\n".join(lines_of(some)).encode() for some in slices]
            store.clear()
            found["influxdb_own_write_plain"] = measure(
                lambda: write_bodies(server, plain, {}), readings, server.process.pid
            )
            packed = [gzip.compress(body, 1) for body in plain]
            store.clear()
            found["influxdb_own_write_gzip"] = measure(
                lambda: write_bodies(server, packed, {"content-encoding": "gzip"}), readings, server.process.pid
            )
        with closing(open_store(RecordSeries(), engine)) as store:
            found["rebuild_in_record"] = measure(lambda: rebuild(engine, RecordSeries(), store), readings, None)
        return found
    finally:
        server.stop()
        engine.dispose()


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else READINGS
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps({"readings": count, **bench(Path(name), count)}, indent=2))
