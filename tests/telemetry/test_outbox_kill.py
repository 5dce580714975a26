"""SIGKILL at random moments of a box that commits, seals, settles and evicts: what was acknowledged is there, once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from telemetry.outbox.inspection import verify_outbox
from tests.telemetry.outbox_parts import SIGNER, events, make, values

ROOT = Path(__file__).resolve().parents[2]
# Commits numbered readings and events for ever; now and then the centre takes a part. A line is an acknowledgement.
BOX = """
import json, random, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from telemetry.messages import Event, Reading, Receipt
from telemetry.outbox import Outbox
from telemetry.signing import Signer
from datetime import UTC, datetime
folder, number, seed = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
chance = random.Random(seed)
at = datetime(2026, 1, 2, tzinfo=UTC)
outbox = Outbox.open(folder / "outbox.sqlite", "box-1", Signer.load(folder / "key"), boot_id="boot", batch_records=7,
                     reserve_bytes=65536, delivered_bytes_max=2000)
print(json.dumps({"open": outbox.epoch}), flush=True)
while True:
    numbers = list(range(number, number + chance.randrange(1, 20)))
    number = numbers[-1] + 1
    readings = [Reading(sensor_id="s", quantity="t", value=item, unit="", observed_at=at) for item in numbers]
    name = f"e{number}"
    told = [Event(event_id=name, incident_id=name, type="box_status", severity="info", source_id="s", at=at)]
    outbox.commit(readings, told if chance.random() < 0.3 else [], {"last": str(numbers[-1])})
    print(json.dumps({"kept": numbers}), flush=True)
    if chance.random() < 0.2:
        batches = outbox.pending("readings", records_max=30, bytes_max=10**6)
        outbox.settle([Receipt(box_id="box-1", epoch=item.epoch, lane="readings", seq=item.seq, status="accepted")
                       for item in batches])
"""


def kill_rounds(folder: Path, rounds: int) -> None:
    SIGNER.save(folder / "key")
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    acknowledged: set[float] = set()
    highest = 0
    for number in range(rounds):
        where = f"seed {seed}, round {number}"
        command = [sys.executable, "-c", BOX, str(ROOT), str(folder), str(highest), str(chance.randrange(2**32))]
        lines_before_kill = chance.randrange(1, 60)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(lines_before_kill)]
            os.kill(child.pid, signal.SIGKILL)
            lines += child.stdout.read().splitlines()
        for line in lines:
            said = json.loads(line) if line.strip().endswith("}") else {}
            acknowledged |= {float(item) for item in said.get("kept", [])}
        with make(folder, batch_records=7, delivered_bytes_max=2000) as outbox:
            status = outbox.status().lanes["readings"]
            found = values(outbox)
            assert len(found) == len(set(found)), f"{where}: stored twice"
            assert status.delivered + len(found) == status.records, where
            assert status.records >= len(acknowledged), where
            assert {item for item in acknowledged if item >= min(found, default=1e18)} <= set(found), f"{where}: lost"
            last = float(outbox.load_state("last").get("last", -1))
            assert last + 1 == status.records, f"{where}: the state is not that of the records"
            assert len({item.event_id for item in events(outbox)}) == len(events(outbox)), where
            highest = status.records
            acknowledged = set(map(float, range(highest)))
        assert verify_outbox(folder / "outbox.sqlite", lambda _: SIGNER.public_key).problems == [], where


def test_ten_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    kill_rounds(tmp_path, rounds=10)


@pytest.mark.slow
def test_two_hundred_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    kill_rounds(tmp_path, rounds=200)
