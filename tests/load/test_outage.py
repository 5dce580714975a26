"""An outage replayed fast through the real centre: nothing lost or doubled, live data close behind, memory bound."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from telemetry.messages import Reading
from telemetry.outbox import Outbox
from tests.load.drain import SENSORS
from tests.server.centre import ROOT, Centre, run_cli

INTERVAL_S = 10
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    running = Centre(tmp_path / "centre")
    yield running
    assert running.stop() == 0


def fill(folder: Path, box_id: str, signer_folder: Path, ticks: int) -> None:
    """What 200 sensors measured in *ticks* intervals while the centre could not be reached."""
    from telemetry.signing import Signer

    signer = Signer.load(signer_folder / "box.key")
    with Outbox.open(folder / "outbox.sqlite", box_id, signer, boot_id="boot") as outbox:
        outbox._store.db.execute("PRAGMA synchronous = OFF")  # filling is not what is measured
        for tick in range(ticks):
            at = START + timedelta(seconds=tick * INTERVAL_S)
            outbox.commit(
                [
                    Reading(
                        sensor_id=f"sensor-{number}", quantity="temperature", unit="°C", observed_at=at,
                        value=round(4 + (tick * 7 + number) % 50 / 10, 1),
                    )
                    for number in range(SENSORS)
                ],
                [],
            )  # fmt: skip


def replay(tmp_path: Path, centre: Centre, ticks: int) -> dict[str, float]:
    box = centre.box()
    folder = tmp_path / "box"
    folder.mkdir()
    box.signer.save(folder / "box.key")
    started_s = time.monotonic()
    fill(folder, box.box_id, folder, ticks)
    filled_s = time.monotonic() - started_s
    done = subprocess.run(
        [sys.executable, "-m", "tests.load.drain", str(folder), box.box_id, centre.url],
        capture_output=True, text=True, cwd=ROOT, timeout=1500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures: dict[str, float] = json.loads(done.stdout)
    figures["fill_s"] = round(filled_s, 1)
    assert figures["backlog"] == ticks * SENSORS
    return figures


def test_an_outage_drains_without_loss_while_live_data_stays_close_behind(tmp_path: Path, centre: Centre) -> None:
    figures = replay(tmp_path, centre, ticks=300)
    print(json.dumps({"outage": figures}))
    found = centre.verified()
    assert (found["problems"], found["gaps"]) == ([], [])
    assert found["readings"] == found["points"] == figures["delivered"]
    assert json.loads(run_cli("gaps", "--json", "--data", str(centre.data)).stdout) == []
    assert figures["live_readings"] > 50
    assert figures["live_lag_s_max"] < 5.0  # 2 s on a machine of its own; tests share theirs
    assert figures["event_lag_s_max"] < 2.0
    assert figures["rss_mb_peak"] < 80


@pytest.mark.slow
def test_seventy_two_hours_of_two_hundred_sensors_drain_within_a_quarter_of_an_hour(
    tmp_path: Path, centre: Centre, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = replay(tmp_path, centre, ticks=72 * 3600 // INTERVAL_S)
    with capsys.disabled():
        print(json.dumps({"outage_72h": figures}))
    assert figures["drain_s"] < 15 * 60
    assert figures["live_lag_s_max"] < 2.0
    assert figures["event_lag_s_p99"] < 1.0
    assert figures["rss_mb_peak"] < 80
    assert json.loads(run_cli("gaps", "--json", "--data", str(centre.data)).stdout) == []
