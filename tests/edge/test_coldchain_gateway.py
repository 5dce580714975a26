"""The cold-chain judgement in the whole box: it follows the disk, and a restart in the midst keeps its timers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.clock import ClockStep, boot_id
from edge.coldchain_desk import ColdChainDesk, limit_events
from edge.config import EdgeConfig
from edge.gateway import Gateway
from telemetry.batch import open_batch
from telemetry.messages import Event, Reading
from telemetry.outbox import Outbox, OutboxError
from telemetry.signing import Signer

START = datetime(2026, 6, 1, tzinfo=UTC)
PLACE = "冷库"


def config(folder: Path, **entry: object) -> EdgeConfig:
    common = {"type": "modbus", "place": PLACE, "port": "p", "register": 0}
    return EdgeConfig.model_validate(
        {
            "box": {"name": "b", "data_dir": folder},
            "server": {"url": "http://127.0.0.1:9"},
            "serial_ports": [{"id": "p", "device": "/dev/ttyUSB9"}],
            "sensors": [
                {**common, "id": "air", "name": "空气", "unit": 1},
                {**common, "id": "door", "name": "门", "unit": 2, "quantity": "door"},
                {**common, "id": "humidity", "name": "湿度", "unit": 3, "quantity": "humidity"},
            ],
            "uplink": {"commit_delay_s": 0},
            "cold_chain": {"air": {"limit_set": "canteen-refrigerator", **entry}},
        }
    )


def reading(minute: float, value: float, sensor_id: str = "air") -> Reading:
    at = START + timedelta(minutes=minute)
    return Reading(sensor_id=sensor_id, quantity="q", value=value, unit="°C", observed_at=at)


def warm(minute: int) -> float:
    return 4.0 + 0.1 * (minute % 5) + (8.0 if 60 <= minute < 240 else 0.0)


async def judge(folder: Path, minutes: Sequence[int]) -> None:
    """One life of the box: its recorder runs, its readings come from here."""
    gateway = Gateway(config(folder))
    recorder = asyncio.create_task(gateway._recorder.run())
    for minute in minutes:
        await gateway._record_readings([reading(minute, warm(minute)), reading(minute, 0.0, "door")], {})
    recorder.cancel()
    with pytest.raises(asyncio.CancelledError):
        await recorder
    gateway._recorder.close()
    gateway._outbox.close()


def recorded(folder: Path) -> list[Event]:
    signer = Signer.load(folder / "box.key")
    with Outbox.open(folder / "outbox.sqlite", "box-1", signer, boot_id=boot_id()) as outbox:
        waiting = outbox.pending("events", records_max=10_000, bytes_max=10**8)
        records = [record for b in waiting for _, record in open_batch(b.raw, lambda _: signer.public_key).records]
    return [record for record in records if isinstance(record, Event)]


def test_restart_amid_an_excursion_is_one_incident_with_the_timers_of_an_unbroken_run(
    enrolled: Path, tmp_path: Path
) -> None:
    for minutes in (range(75), range(75, 120), range(120, 300)):  # before it opens, and while it is open
        asyncio.run(judge(enrolled, minutes))
    events = [event for event in recorded(enrolled) if event.type == "excursion_opened"]
    [opened] = events
    assert opened.data["limit_c"] == 8.0
    assert timedelta(minutes=60) < opened.at - START <= timedelta(minutes=105)
    [key] = [key for key in saved_states(enrolled) if key.startswith("coldchain/")]
    assert key == f"coldchain/{PLACE}"
    assert opened.incident_id in saved_states(enrolled)[key]


def test_running_box_tells_its_limits_once_over_two_lives(enrolled: Path) -> None:
    async def life() -> None:
        gateway = Gateway(config(enrolled))
        task = asyncio.create_task(gateway.run())
        async with asyncio.timeout(30):
            while "limits/air" not in gateway._outbox.load_state("limits/"):
                await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 30)

    for _ in range(2):
        asyncio.run(life())
    assert [event.source_id for event in recorded(enrolled) if event.data.get("kind") == "limits"] == ["air"]


def saved_states(folder: Path) -> dict[str, str]:
    signer = Signer.load(folder / "box.key")
    with Outbox.open(folder / "outbox.sqlite", "box-1", signer, boot_id=boot_id()) as outbox:
        return outbox.load_state("")


class FailingRecorder:
    """Fails while *failing*; keeps the rest."""

    def __init__(self) -> None:
        self.failing = False
        self.events: list[Event] = []
        self.state: dict[str, str | None] = {}

    async def record(
        self, readings: Sequence[Reading] = (), events: Sequence[Event] = (), state: dict[str, str | None] | None = None
    ) -> None:
        await asyncio.sleep(0)
        if self.failing:
            raise OutboxError("disk full")
        self.events += events
        self.state |= state or {}

    async def tell(self, events: Sequence[Event], state: dict[str, str | None]) -> None:
        await self.record((), events, state)


def scripted(folder: Path) -> tuple[Gateway, FailingRecorder]:
    gateway, recorder = Gateway(config(folder)), FailingRecorder()
    gateway._recorder.close()
    gateway._recorder = recorder  # type: ignore[assignment]
    return gateway, recorder


def test_excursion_whose_commit_failed_is_opened_by_the_next_reading(enrolled: Path) -> None:
    async def scenario() -> tuple[FailingRecorder, int]:
        gateway, recorder = scripted(enrolled)
        failed = 0
        for minute in range(240):
            recorder.failing = 80 <= minute < 130
            try:
                await gateway._record_readings([reading(minute, warm(minute))], {})
            except OutboxError:
                failed += 1
        gateway._outbox.close()
        return recorder, failed

    recorder, failed = asyncio.run(scenario())
    opened = [event for event in recorder.events if event.type == "excursion_opened"]
    assert failed == 50
    assert [event.at for event in opened] == [START + timedelta(minutes=130)]
    assert opened[0].incident_id in str(recorder.state[f"coldchain/{PLACE}"])


def test_readings_of_one_asset_from_two_ports_do_not_go_back_together(enrolled: Path) -> None:
    async def scenario() -> tuple[float | None, object]:
        gateway, recorder = scripted(enrolled)
        [asset] = gateway._cold_chain.assets
        await gateway._record_readings([reading(0, 4.0)], {})
        recorder.failing = True
        lost = asyncio.create_task(gateway._record_readings([reading(1, 5.0)], {}))
        await asyncio.sleep(0)
        kept = asyncio.create_task(gateway._record_readings([reading(1, 1.0, "door")], {}))
        with pytest.raises(OutboxError):
            await lost
        recorder.failing = False
        await kept
        gateway._outbox.close()
        return asset.engine.probes["air"].last_c, asset.engine.contacts.door_since_s

    last_c, door_since_s = asyncio.run(scenario())
    assert last_c == 4.0
    assert door_since_s == (START + timedelta(minutes=1)).timestamp()


def test_time_that_passes_tells_a_gap_once_and_goes_back_with_its_commit(enrolled: Path) -> None:
    async def scenario() -> FailingRecorder:
        gateway, recorder = scripted(enrolled)
        desk, record = gateway._cold_chain, gateway._record_events
        for minute in range(60):
            await gateway._record_readings([reading(minute, warm(minute))], {})
        late = START + timedelta(hours=3)
        recorder.failing = True
        with pytest.raises(OutboxError):
            await desk.tick(record, late)
        recorder.failing = False
        await desk.tick(record, late)
        await desk.tick(record, late + timedelta(minutes=1))
        gateway._outbox.close()
        return recorder

    assert [event.data["kind"] for event in asyncio.run(scenario()).events] == ["data_gap"]


def test_step_of_the_boxs_clock_reaches_the_judgement_and_is_saved(enrolled: Path) -> None:
    async def scenario() -> tuple[FailingRecorder, dict[str, str | None]]:
        gateway, recorder = scripted(enrolled)
        for minute in range(60):
            await gateway._record_readings([reading(minute, warm(minute))], {})
        state = gateway._shift_timers(ClockStep(7_200.0, first=False))
        await gateway._cold_chain.tick(gateway._record_events, START + timedelta(minutes=60, hours=2))
        gateway._outbox.close()
        return recorder, state

    recorder, state = asyncio.run(scenario())
    assert recorder.events == []
    assert "-7200.0" in str(state[f"coldchain-clock/{PLACE}"])


def test_limits_and_the_reason_for_loosening_are_told_once_for_each_configuration(tmp_path: Path) -> None:
    loose = config(tmp_path, high_c=9, loosen_reason="改造期间")
    [event], state = limit_events(loose, {}, START)
    assert (event.type, event.data["kind"], event.data["high_c"]) == ("box_status", "limits", 9.0)
    assert event.data["changes"] == ["high limit loosened from 8 °C to 9 °C: 改造期间"]
    saved = {key: text for key, text in state.items() if text is not None}
    assert limit_events(loose, saved, START) == ([], {})
    [back], _ = limit_events(config(tmp_path), saved, START)
    assert back.data["changes"] == []


def test_a_dated_limit_is_told_when_it_comes_into_force_and_when_the_clock_is_set_back(tmp_path: Path) -> None:
    change = START + timedelta(days=2)
    dated = [{"high_c": 8.0}, {"from": change.isoformat(), "high_c": 5.0}]
    desk, recorder = ColdChainDesk(config(tmp_path, limit_set=None, limits=dated), {}), FailingRecorder()

    async def scenario() -> None:
        for hours in (0, 1, 47, 48, 49, 100, 1):
            await desk.tell_limits(recorder.tell, START + timedelta(hours=hours))

    asyncio.run(scenario())
    assert [(event.at, event.data["high_c"]) for event in recorder.events] == [
        (START, 8.0),
        (change, 5.0),
        (START + timedelta(hours=1), 8.0),
    ]
