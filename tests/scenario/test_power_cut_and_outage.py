"""The whole chain under the two things that happen to every box: its power is cut, and the centre is away.

Everything is a real process at a real door: probes on a pseudo-terminal, a camera over HTTP, the box, the centre.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from firmware_sim.demo import CONFIG, add_people, enrol_box, free_port, start_box, start_centre
from firmware_sim.programs import Programs
from telemetry.batch import open_batch
from telemetry.messages import Reading
from telemetry.signing import PublicKey
from tests.waiting import wait_for
from tests.warm import WarmPrograms

OUTAGE_S = 30.0
CAMERA = ("firmware_sim.cli", "camera", "--door", "http", "--schedule", "mask:8,no_mask:90,mask:600")


class Plant:
    """A canteen with its box and centre on this machine."""

    def __init__(self, folder: Path, programs: Programs) -> None:
        self.folder = folder
        self.programs = programs
        self.data = folder / "centre"
        self.config = folder / "box.yaml"
        add_people(programs, self.data)
        broker_port = free_port()
        self.url = start_centre(programs, self.data, broker_port=broker_port)
        device = folder / "ttyProbes"
        programs.start("probes", "firmware_sim.cli", "probes", "--link", str(device))
        fridge = ("mqtt", "--port", str(broker_port), "--name", "fridge", "--scenario", "steady")
        programs.start("fridge", "firmware_sim.cli", *fridge, announces=False)
        self.camera = programs.start("camera", *CAMERA)["source"]
        self.config.write_text(CONFIG.format(url=self.url, device=device, broker_port=broker_port), "utf-8")

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """What stands in the centre's record."""
        with contextlib.closing(sqlite3.connect(f"file:{self.data / 'record.sqlite'}?mode=ro", uri=True)) as db:
            return db.execute(query).fetchall()

    def readings(self) -> list[Reading]:
        """All that the box signed, as the centre has it."""
        ((key,),) = self.rows("SELECT public_key FROM box WHERE id NOT LIKE 'gateway-%'")
        found = self.rows("SELECT raw FROM batch WHERE lane = 'readings'")
        opened = [open_batch(bytes(raw), lambda _: PublicKey.from_b64(str(key))) for (raw,) in found]
        return [record for batch in opened for _, record in batch.records if isinstance(record, Reading)]

    def alerts(self) -> dict[str, bool]:
        """Kind → whether it is over, of all alerts."""
        return {str(kind): ended is not None for kind, ended in self.rows("SELECT kind, ended_at FROM alert")}

    def outbox(self) -> dict[str, dict[str, int]]:
        text = self.programs.run("status", "edge.cli", "outbox", "status", "--json", str(self.config))
        lanes: dict[str, dict[str, int]] = json.loads(text)["lanes"]
        return lanes

    def waiting_evidence(self) -> list[Path]:
        """What waits for its upload, and the orders of films that are not made yet."""
        box = self.folder / "box"
        return [*box.glob("spool/*.ble"), *box.glob("evidence/films/*/*.json")]

    def pending(self) -> int:
        return sum(lane["pending_records"] for lane in self.outbox().values())


def time_of(reading: Reading) -> tuple[str, str, datetime]:
    return reading.sensor_id, reading.quantity, reading.observed_at


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    programs = WarmPrograms(tmp_path)
    try:
        built = Plant(tmp_path, programs)
        monkeypatch.setenv("BRIGHTLINE_DEMO_CAMERA", built.camera)
        enrol_box(programs, built.data, built.config)
        start_box(programs, built.config, built.camera)
        yield built
    finally:
        programs.end_all()


def test_no_reading_and_no_alert_is_lost_or_doubled_by_a_power_cut_and_a_cut_line(plant: Plant) -> None:
    both = {"temperature_excursion", "no_mask"}
    wait_for("both alerts arrive", lambda: both <= set(plant.alerts()), 90)

    plant.programs.kill("box")  # while both incidents are open
    start_box(plant.programs, plant.config, plant.camera)
    before = plant.outbox()["readings"]["records"]
    wait_for("the box reads again", lambda: plant.outbox()["readings"]["records"] > before + 4)

    plant.programs.kill("centre")
    threading.Event().wait(OUTAGE_S)
    assert plant.pending() >= OUTAGE_S, "two probes at one reading a second wait in the outbox"
    start_centre(plant.programs, plant.data, plant.port)

    wait_for("both incidents end", lambda: plant.alerts() == dict.fromkeys(both, True), 120)
    wait_for("the pictures and the film are at the centre", lambda: not plant.waiting_evidence(), 90)
    plant.programs.end("box")
    assert plant.pending() == 0
    sent = plant.outbox()
    plant.programs.end("centre")
    found = json.loads(plant.programs.run("verify", "server.cli", "verify", "--json", "--data", str(plant.data)))
    assert (found["problems"], found["gaps"]) == ([], [])
    assert found["readings"] == sent["readings"]["records"]
    # The fridge's broker went with the centre: its publisher may send again, to the new one, what the box has already
    # (at least once). Such a reading is the first once more, and both are one point; nothing else comes twice.
    readings = plant.readings()
    times = Counter(map(time_of, readings))
    assert [found["readings"], found["points"]] == [len(readings), len(times)]
    assert {sensor_id for (sensor_id, *_), count in times.items() if count > 1} <= {"fridge"}
    assert len({(*time_of(reading), reading.value) for reading in readings}) == len(times)
    assert found["events"] == sent["events"]["records"]
    assert found["alerts_by_kind"] == {"no_mask": 1, "temperature_excursion": 1}
    roles = Counter(role for (role,) in plant.rows("SELECT role FROM evidence"))
    assert (roles["annotated"], roles["snapshot"]) == (1, 1)
    assert roles["film"] <= 1, "the power cut may come before the film is whole"
    assert found["pictures"] == roles.total()
    types = Counter(kind for (kind,) in plant.rows("SELECT type FROM event"))
    once = ("excursion_opened", "excursion_closed", "violation_opened", "violation_closed")
    assert [types[kind] for kind in once] == [1, 1, 1, 1]
    assert plant.rows("SELECT count(*) FROM event") == plant.rows("SELECT count(DISTINCT event_id) FROM event")
