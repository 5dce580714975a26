"""How much memory and time `verify` takes as the record grows: python -m tests.load.verify_memory [READINGS] (JSON).

Builds a record of one box in a temporary folder, then verifies it in a process of its own.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import timedelta
from pathlib import Path

from server.accounts import ensure_site, make_enrolment_code
from server.database import migrate
from server.ingest import enrol_box
from server.settings import Settings
from telemetry.messages import Reading
from telemetry.signing import Signer
from tests.server.merkle.small_record import AT, SmallRecord

PER_BATCH, SENSORS = 1000, 10


def build(data: Path, readings: int) -> None:
    box = Signer.generate()
    migrate(Settings(data_dir=data))
    record = SmallRecord(data, "", box, uuid.uuid4().hex, {})
    with record.changing() as db:
        record.box_id = enrol_box(db, make_enrolment_code(db, ensure_site(db, "A")), box.public_key_b64, "box").id
    for batch in range(readings // PER_BATCH):
        with record.changing() as db:
            record.send(db, "readings", [_reading(batch * PER_BATCH + index) for index in range(PER_BATCH)])
    record.grow()


def _reading(number: int) -> Reading:
    at = AT + timedelta(seconds=number // SENSORS)
    return Reading(
        sensor_id=f"s-{number % SENSORS}", quantity="temperature", value=4.0 + number % 7 / 10, unit="°C",
        observed_at=at, quality="good",
    )  # fmt: skip


def main() -> None:
    readings = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="brightline-load-") as folder:
        data = Path(folder) / "data"
        build(data, readings)
        start_s = time.monotonic()
        command = [sys.executable, "-m", "server.cli", "verify", "--json", "--data", str(data)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        elapsed_s = time.monotonic() - start_s
        found = json.loads(done.stdout)
        peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        record_mib = (data / "record.sqlite").stat().st_size / 2**20
    told = {
        "readings": found["readings"], "points": found["points"], "leaves": found["log_leaves"],
        "problems": found["problems"], "seconds": round(elapsed_s, 1), "peak_mib": round(peak_mib),
        "record_mib": round(record_mib), "load_1min": os.getloadavg()[0],
    }  # fmt: skip
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
