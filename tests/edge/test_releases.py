"""A release is tried, proved or taken back by the box itself, and never reaches what lets somebody into the box."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from edge import cli
from edge.config import ConfigurationError
from edge.config import load as load_own
from edge.release_desk import ReleaseDesk
from edge.released_config import give_up_trial, load_in_force, start_in_force
from edge.releases import ReleaseFolder
from edge.trial import TrialContext
from edge.trial_record import STARTS_MAX, Installed
from telemetry.commands import Command
from telemetry.messages import Event, Scalar
from telemetry.releases import ReleaseError, merge_release, read_release
from telemetry.uplink import UplinkUnavailable

OWN = """
box: {name: box-1, data_dir: data}
server: {url: "https://centre.example"}
serial_ports: [{id: rs485, device: /dev/null}]
sensors:
  - {type: modbus, id: cold-1, name: 冷库, port: rs485, unit: 1, register: 0}
limits: [{sensor: cold-1, high_c: 8, delay_s: 600}]
"""
SIX = b"limits: [{sensor: cold-1, high_c: 6, delay_s: 600}]\nsensors: [{id: cold-1, calibration_offset: 0.5}]\n"
FIVE = SIX.replace(b"6,", b"5,")
WRONG = b"limits: [{sensor: cold-9, high_c: 6, delay_s: 600}]\n"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Life:
    """A box's disk, and the centre beside it."""

    def __init__(self, folder: Path, own: str) -> None:
        self.path = folder / "box.yaml"
        self.path.write_text(own, "utf-8")
        self.folder = ReleaseFolder(folder / "data")
        self.releases: dict[str, bytes] = {}
        self.events: list[Event] = []
        self.fetch_failures = 0
        self.lacks = ""
        self.restarts = 0

    def restart(self) -> None:
        self.restarts += 1

    async def record(self, events: Sequence[Event], state: dict[str, str | None]) -> None:
        self.events += events

    async def fetch(self, digest: str) -> bytes:
        if self.fetch_failures:
            self.fetch_failures -= 1
            raise UplinkUnavailable("down", 0.0)
        return self.releases[digest]

    def desk(self) -> ReleaseDesk:
        context = TrialContext("box-1", self.record, self.restart, 0.0, lambda: NOW)
        return ReleaseDesk(self.path, self.path.parent / "data", context, self.fetch, lambda: self.lacks)

    def order(self, name: str, raw: bytes) -> tuple[str, str, bool]:
        digest = sha256(raw).hexdigest() if raw else ""
        self.releases[digest] = raw
        said: dict[str, Scalar] = {"release": name if raw else "", "sha256": digest}
        command = Command(
            command_id=f"c{name}", kind="apply", arguments=said, expires_at=NOW + timedelta(days=1)
        )  # fmt: skip
        outcome = asyncio.run(self.desk().carry_out(command))
        return outcome.status, outcome.reason, outcome.restart

    def live_on(self) -> None:
        """The box stays up until all is told, and it starts anew if it lacks anything."""

        async def live() -> None:
            service = asyncio.create_task(self.desk().run())
            async with asyncio.timeout(20):
                while self._is_on_trial() or (self.lacks and not self.restarts):
                    await asyncio.sleep(0)
            service.cancel()
            with suppress(asyncio.CancelledError):
                await service

        asyncio.run(live())

    def _is_on_trial(self) -> bool:
        state = self.folder.state
        return not state.current.confirmed or bool(state.words)

    @property
    def high_c(self) -> float | None:
        return load_in_force(self.path).limits[0].high_c

    @property
    def told(self) -> list[tuple[object, object]]:
        return [(event.data["release"], event.data["status"]) for event in self.events]


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path, OWN)


def test_release_takes_effect_at_the_next_start_and_is_told_when_the_box_stayed_up(life: Life) -> None:
    assert life.order("1", SIX) == ("done", "", True)
    config = start_in_force(life.path)
    assert (config.limits[0].high_c, config.sensors[0].calibration_offset) == (6, 0.5)
    assert config.sensors[0].name == "冷库"
    assert life.told == []
    life.live_on()
    assert life.told == [("1", "applied")]
    assert life.order("1", SIX) == ("done", "", False)  # in force already


def test_box_that_does_not_stay_up_goes_back_to_the_release_before(life: Life) -> None:
    life.order("1", SIX)
    start_in_force(life.path)
    life.live_on()
    life.order("2", FIVE)
    for _ in range(STARTS_MAX):
        assert start_in_force(life.path).limits[0].high_c == 5
    assert start_in_force(life.path).limits[0].high_c == 6
    life.live_on()
    assert life.told == [("1", "applied"), ("2", "failed")]
    assert "started 3 times" in str(life.events[-1].data["reason"])
    assert life.events[-1].event_id == "c2.failed"


def test_box_that_does_not_do_its_work_goes_back_and_starts_anew(life: Life) -> None:
    life.order("1", SIX)
    start_in_force(life.path)
    life.lacks = "no sensor could be read"
    life.live_on()
    assert (life.restarts, life.high_c) == (1, 8)
    assert life.told == [("1", "failed")]
    assert life.events[0].data["reason"] == "no sensor could be read"


def test_release_that_was_on_the_disk_when_the_box_ended_is_not_told_as_interrupted(life: Life) -> None:
    life.order("1", SIX)
    assert life.desk().became("c1")
    life.folder.go_back("x")
    assert life.desk().became("c1")  # its word is still to be told
    assert not life.desk().became("c2")


def test_configuration_that_the_box_refuses_is_not_kept(life: Life) -> None:
    status, reason, restart = life.order("1", WRONG)
    assert (status, restart) == ("refused", False)
    assert "limits.0.sensor: is no id in sensors" in reason
    assert life.order("2", b"sensors: [{id: other, name: x}]")[:2] == (
        "refused", f"{life.path}:2: file: sensors: this box has no other",
    )  # fmt: skip
    assert life.high_c == 8


def test_bad_configuration_that_got_onto_the_disk_is_taken_back_at_the_start(life: Life) -> None:
    life.folder.install(Installed(release="1", sha256=sha256(WRONG).hexdigest(), command_id="c1"), WRONG)
    assert start_in_force(life.path).limits[0].high_c == 8
    assert life.folder.state.words[0].status == "failed"


def test_document_that_was_changed_on_the_disk_is_taken_back(life: Life, tmp_path: Path) -> None:
    life.order("1", SIX)
    next((tmp_path / "data/releases").glob("*.yaml")).write_bytes(FIVE)
    assert start_in_force(life.path).limits[0].high_c == 8


def test_fault_of_the_start_itself_takes_a_release_on_trial_back_and_asks_for_another_start(
    life: Life, capsys: pytest.CaptureFixture[str]
) -> None:
    life.order("1", SIX)
    assert cli.main(["run", str(life.path)]) == 1  # it is not enrolled: for the box any ConfigurationError is the same
    assert "not enrolled" in capsys.readouterr().err
    assert life.high_c == 8
    assert cli.main(["run", str(life.path)]) == 2
    assert not give_up_trial(life.path, ConfigurationError("again"))


def test_own_file_alone_is_in_force_again_when_the_centre_says_so(life: Life) -> None:
    life.order("1", SIX)
    start_in_force(life.path)
    life.live_on()
    assert life.order("2", b"") == ("done", "", True)
    assert start_in_force(life.path).limits[0].high_c == 8
    life.live_on()
    assert life.told == [("1", "applied"), ("", "applied")]


def test_newer_release_during_a_trial_keeps_the_proved_one_as_the_one_before(life: Life) -> None:
    life.order("1", SIX)
    life.order("2", FIVE)
    assert life.folder.state.previous == Installed()
    assert len(list((life.path.parent / "data/releases").glob("*.yaml"))) == 1


def test_fetch_is_tried_again_while_the_line_is_bad(life: Life) -> None:
    life.fetch_failures = 2
    assert life.order("1", SIX)[0] == "done"
    life.fetch_failures = 99
    assert life.order("2", FIVE) == ("failed", "the release could not be fetched: down", False)


def test_damaged_state_means_the_own_file(life: Life, tmp_path: Path) -> None:
    life.order("1", SIX)
    (tmp_path / "data/releases/state.json").write_text("{")
    assert start_in_force(life.path).limits[0].high_c == 8


def test_proved_release_that_the_own_file_fits_no_more_stops_the_start_for_whoever_changed_it(life: Life) -> None:
    life.order("1", SIX)
    start_in_force(life.path)
    life.live_on()
    life.path.write_text(OWN.replace("cold-1", "cold-2"), "utf-8")
    load_own(life.path)
    with pytest.raises(ConfigurationError, match=r"with release 1: .*this box has no cold-1"):
        start_in_force(life.path)


@pytest.mark.parametrize(
    "raw",
    [
        b"server: {url: https://elsewhere}", b"uplink: {}", b"remote: {allow: []}", b"evidence: {}", b"box: {}",
        b"brokers: []", b"sensors: [{id: a, port: b}]", b"cameras: [{id: a, model: /etc/passwd}]",
        b"cameras: [{id: a, name: {env: PASSWORD}}]", b"limits: [{sensor: {file: box.key}}]", b"\xff", b"a: 2026-13-01",
        b"[" * 5000, b"x" * (256 * 1024 + 1),
    ],
)  # fmt: skip
def test_nothing_but_the_named_sections_is_read(raw: bytes) -> None:
    with pytest.raises(ReleaseError):
        read_release(raw)


def test_entries_are_changed_by_id_and_the_others_stay() -> None:
    own = {"sensors": [{"id": "a", "port": 1, "name": "x"}, {"id": "b", "port": 2}], "limits": [1], "box": {}}
    merged = merge_release(own, {"sensors": [{"id": "a", "name": "y"}], "limits": []})
    assert merged == {"sensors": [{"id": "a", "port": 1, "name": "y"}, {"id": "b", "port": 2}], "limits": [], "box": {}}
    assert own["limits"] == [1]
