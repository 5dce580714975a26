"""A command counts once, whatever happens in between, and only what the configuration allows has an effect."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.evidence_folder import EvidenceFolder
from edge.remote_desk import Outcome, RemoteDesk
from telemetry.commands import Command, CommandKind
from telemetry.messages import Event, Scalar
from telemetry.outbox import OutboxError

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ALL: tuple[CommandKind, ...] = ("snapshot", "clip", "recheck", "restart", "hold", "release")


def command(what: CommandKind, name: str = "c1", /, **arguments: Scalar) -> Command:
    return Command(command_id=name, kind=what, arguments=arguments, expires_at=NOW + timedelta(minutes=10))


@dataclass
class Life:
    """The box from a start to an end; ``saved`` is its disk."""

    saved: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    restarts: int = 0
    fails_at: int = -1
    commits: int = 0
    now: datetime = NOW
    steady_s: float = 0.0

    async def record(self, events: Sequence[Event], state: dict[str, str | None]) -> None:
        self.commits += 1
        if self.commits == self.fails_at:
            raise OutboxError("disk")
        self.events += events
        for key, text in state.items():
            self.saved.pop(key, None)
            self.saved |= {} if text is None else {key: text}

    def restart(self) -> None:
        self.restarts += 1

    def desk(self, allow: Sequence[CommandKind] = ALL, evidence: EvidenceFolder | None = None) -> RemoteDesk:
        return RemoteDesk(
            allow, "box-1", self.saved, self.record, self.restart, evidence=evidence, cameras=Cameras(),
            now=lambda: self.now, steady_s=lambda: self.steady_s,
        )  # fmt: skip

    @property
    def told(self) -> list[tuple[object, object, object]]:
        return [(e.data["command_id"], e.data["status"], e.data["reason"]) for e in self.events]


class Cameras:
    async def carry_out(self, command: Command) -> Outcome:
        return Outcome("done", facts={"verdict": "compliant"})


def test_what_is_not_allowed_is_refused_and_told() -> None:
    life = Life(steady_s=100)
    asyncio.run(life.desk(allow=("snapshot",)).do(command("restart")))
    assert life.told == [("c1", "refused", "this box's configuration does not allow it")]
    assert life.restarts == 0


def test_command_offered_again_is_done_once_also_after_a_restart() -> None:
    life = Life()
    desk = life.desk()
    for _ in range(2):
        asyncio.run(desk.do(command("recheck", camera="cam", kind="no_mask")))
    asyncio.run(life.desk().do(command("recheck", camera="cam", kind="no_mask")))
    assert life.told == [("c1", "done", "")]
    assert life.events[0].data["verdict"] == "compliant"
    assert life.desk().known == ["c1"]


def test_command_in_whose_midst_the_box_ended_is_told_as_failed_and_not_repeated() -> None:
    life = Life(fails_at=2)
    with pytest.raises(OutboxError):
        asyncio.run(life.desk().do(command("snapshot", camera="cam")))
    again = life.desk()
    asyncio.run(again.tell_interrupted())
    asyncio.run(again.do(command("snapshot", camera="cam")))
    assert life.told == [("c1", "failed", "the box was interrupted")]


class Releases(Cameras):
    def became(self, command: str) -> bool:
        return command == "c1"


def test_release_that_took_effect_before_the_box_ended_is_told_as_done() -> None:
    life = Life(saved={"command/c1": "begun", "command/c2": "begun"})
    desk = RemoteDesk(ALL, "box-1", life.saved, life.record, life.restart, releases=Releases(), now=lambda: NOW)
    asyncio.run(desk.tell_interrupted())
    assert life.told == [("c1", "done", ""), ("c2", "failed", "the box was interrupted")]


def test_command_that_could_not_be_noted_has_no_effect_and_may_come_again(tmp_path: Path) -> None:
    life = Life(fails_at=1)
    folder = EvidenceFolder(tmp_path, bytes_max=10**9, free_bytes_min=0)
    desk = life.desk(evidence=folder)
    with pytest.raises(OutboxError):
        asyncio.run(desk.do(command("hold", incident="i1")))
    assert folder.holds() == frozenset()
    asyncio.run(desk.do(command("hold", incident="i1")))
    assert folder.holds() == {"i1"}
    asyncio.run(desk.do(command("release", "c2", incident="i1")))
    asyncio.run(desk.do(command("release", "c3", incident="i1")))
    assert life.told == [("c1", "done", ""), ("c2", "done", ""), ("c3", "done", "it was not held")]


def test_restart_is_told_before_it_happens_and_not_within_a_minute_of_the_start() -> None:
    life = Life()
    desk = life.desk()
    asyncio.run(desk.do(command("restart")))
    assert life.told == [("c1", "refused", "it was started 0 s ago; at most one restart a minute")]
    life.steady_s = 61
    asyncio.run(desk.do(command("restart", "c2")))
    assert (life.told[1], life.restarts) == (("c2", "done", ""), 1)


def test_path_in_an_incident_is_refused(tmp_path: Path) -> None:
    life = Life()
    folder = EvidenceFolder(tmp_path / "evidence", bytes_max=10**9, free_bytes_min=0)
    asyncio.run(life.desk(evidence=folder).do(command("hold", incident="../../x")))
    assert life.told[0][1] == "failed"


def test_old_commands_are_forgotten_a_day_after_their_end() -> None:
    life = Life()
    desk = life.desk()
    asyncio.run(desk.do(command("snapshot", camera="cam")))
    life.now = NOW + timedelta(days=2)
    asyncio.run(desk.do(command("snapshot", "c2", camera="cam")))
    assert desk.known == ["c2"]
    assert list(life.saved) == ["command/c2"]
