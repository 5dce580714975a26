"""What leaves the configuration takes its open incidents along, once, and touches nothing else."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge.clock import boot_id
from edge.config import EdgeConfig
from edge.gateway import Gateway
from edge.removed_sources import end_removed
from telemetry.batch import open_batch
from telemetry.messages import Event
from telemetry.outbox import Outbox
from telemetry.signing import Signer

AT = datetime(2026, 1, 2, tzinfo=UTC)
AIR = {"type": "modbus", "id": "air", "name": "空气", "port": "p", "unit": 1, "register": 0, "place": "冷库"}
LIMITS = [{"sensor": "air", "high_c": 8, "delay_s": 0}, {"sensor": "air", "low_c": 0, "delay_s": 0}]
CAMERA = {
    "id": "cam", "name": "备餐间", "source": "rtsp://127.0.0.1:9/x",
    "violations": ["no_mask", {"code": "no_hat", "zones": ["desk"]}],
    "zones": [{"id": "desk", "polygon": [[0, 0], [1, 0], [1, 1]]}],
}  # fmt: skip
EXCURSION = {"side": "high", "since": AT.isoformat(), "peak_c": 9.0}


def config(folder: Path, **parts: Any) -> EdgeConfig:
    base = {
        "box": {"name": "b", "data_dir": folder}, "server": {"url": "http://127.0.0.1:9"},
        "serial_ports": [{"id": "p", "device": "/dev/ttyUSB9"}], "sensors": [AIR], "limits": LIMITS,
        "cold_chain": {"air": {"limit_set": "x"}}, "cameras": [CAMERA],
    }  # fmt: skip
    return EdgeConfig.model_validate({**base, **parts})


def incident(name: str, kind: str) -> dict[str, Any]:
    return {"incident_id": name, "kind": kind, "severity": "critical", "told_s": 0.0}


SAVED = {
    "rule/air/0": json.dumps({**EXCURSION, "incident_id": "i0"}),
    "rule/air/1": json.dumps({**EXCURSION, "incident_id": "i1"}),
    "unsynced/rule/air/1": "1",
    "health/air": json.dumps({"failures": 3, "incident_id": "h"}),
    "coldchain/冷库": json.dumps(
        {
            "engine": {}, "contacts": {},
            "incidents": {
                "air/high": incident("c1", "temperature_excursion"), "air/stuck": incident("c2", "sensor_fault"),
            },
        }
    ),
    "coldchain-clock/冷库": "{}",
    "camera/cam": json.dumps({"camera_blind": "b", "no_mask": "v1", "no_hat@desk": "v2"}),
    "driver/p": "{}",
}  # fmt: skip


def ends(found: EdgeConfig) -> tuple[dict[str, tuple[str, str]], dict[str, str | None]]:
    """The ends by incident: type and source."""
    events, state = end_removed(found, SAVED, AT)
    assert all(event.data["end_reason"] == "removed" and event.at == AT for event in events)
    return {event.incident_id: (event.type, event.source_id) for event in events}, state


def test_unchanged_configuration_ends_nothing(tmp_path: Path) -> None:
    assert ends(config(tmp_path)) == ({}, {})


def test_removed_sensor_ends_its_excursions_faults_and_judgement(tmp_path: Path) -> None:
    found, state = ends(config(tmp_path, sensors=[], limits=[], cold_chain={}))
    closed, recovered = ("excursion_closed", "air"), ("sensor_recovered", "air")
    assert found == {"i0": closed, "i1": closed, "c1": closed, "h": recovered, "c2": recovered}
    assert state == dict.fromkeys(key for key in SAVED | {"unsynced/rule/air/0": ""} if "air" in key or "冷库" in key)


def test_removed_limit_ends_its_own_excursion_only(tmp_path: Path) -> None:
    found, state = ends(config(tmp_path, limits=LIMITS[:1]))
    assert found == {"i1": ("excursion_closed", "air")}
    assert state == {"rule/air/1": None, "unsynced/rule/air/1": None}


def test_sensor_at_another_place_leaves_no_incident_at_the_old_one(tmp_path: Path) -> None:
    beside = {**AIR, "id": "other", "unit": 2}
    judged = {name: {"limit_set": "x"} for name in ("air", "other")}
    found, state = ends(config(tmp_path, sensors=[{**AIR, "place": "新库"}, beside], cold_chain=judged))
    assert set(found) == {"c1", "c2"}
    assert json.loads(str(state["coldchain/冷库"]))["incidents"] == {}


def test_removed_camera_and_removed_violation_end_theirs(tmp_path: Path) -> None:
    closed, sees = ("violation_closed", "cam"), ("camera_recovered", "cam")
    found, state = ends(config(tmp_path, cameras=[]))
    assert (found, state) == ({"b": sees, "v1": closed, "v2": closed}, {"camera/cam": None})
    whole = {**CAMERA, "violations": ["no_mask", "no_hat"]}  # the zone was given up: the incident was of the zone
    found, state = ends(config(tmp_path, cameras=[whole]))
    assert found == {"v2": closed}
    assert json.loads(str(state["camera/cam"])) == {"camera_blind": "b", "no_mask": "v1"}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"incidents": 3}', "null"])
def test_broken_state_is_left_to_its_reader(tmp_path: Path, text: str) -> None:
    bare = config(tmp_path, sensors=[], limits=[], cold_chain={}, cameras=[])
    for key in SAVED:
        end_removed(bare, {**SAVED, key: text}, AT)


def test_box_tells_the_end_at_its_next_start_and_not_again(enrolled: Path) -> None:
    signer = Signer.load(enrolled / "box.key")

    def lives() -> list[Event]:
        async def live() -> None:
            bare = config(enrolled, sensors=[], limits=[], cold_chain={}, cameras=[], serial_ports=[])
            gateway = Gateway(bare)
            ready = asyncio.Event()
            task = asyncio.create_task(gateway.run(ready.set))
            async with asyncio.timeout(25):
                await ready.wait()
                while gateway._outbox.load_state("health/"):
                    await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(live())
        with Outbox.open(enrolled / "outbox.sqlite", "box-1", signer, boot_id=boot_id()) as outbox:
            waiting = outbox.pending("events", records_max=100, bytes_max=10**7)
            batches = [open_batch(item.raw, lambda _: signer.public_key) for item in waiting]
        return [record for batch in batches for _, record in batch.records if isinstance(record, Event)]

    with Outbox.open(enrolled / "outbox.sqlite", "box-1", signer, boot_id=boot_id()) as outbox:
        outbox.commit([], [], {"health/air": SAVED["health/air"]})
    for _ in range(2):
        assert [(event.event_id, event.type) for event in lives()] == [("h.recovered", "sensor_recovered")]
