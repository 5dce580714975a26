"""Originals stay their time, held ones for ever; whatever goes leaves a tombstone, also over a power cut."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.config_evidence import EvidenceSection
from edge.evidence_folder import EvidenceFolder, KeptFile, StorageFull
from telemetry.batch import sha256_hex
from telemetry.evidence import EvidenceManifest
from tests.edge.console import RunEdge
from tests.edge.originals import NOON, key_of, original, put, tombstones

KIB = 1024


def folder(path: Path, *, bytes_max: int = 10**9, free_bytes_min: int = 0) -> EvidenceFolder:
    return EvidenceFolder(path / "evidence", bytes_max=bytes_max, free_bytes_min=free_bytes_min)


def days(number: float) -> Callable[[EvidenceManifest], float]:
    return lambda _: number


def age(path: Path, at: datetime) -> None:
    os.utime(path, (at.timestamp(), at.timestamp()))


def test_originals_go_when_their_time_is_over_and_each_leaves_a_tombstone(tmp_path: Path) -> None:
    ours = folder(tmp_path)
    old, new = put(ours, b"old", "i1"), put(ours, b"new", "i2")
    age(old, NOON)
    age(new, NOON + timedelta(days=9))
    assert ours.expire(days(15), NOON + timedelta(days=14)) == 0
    assert ours.expire(days(15), NOON + timedelta(days=16)) == 1
    assert not old.exists()
    assert new.exists()
    (stone,) = tombstones(ours)
    assert (stone["sha256"], stone["incident_id"], stone["why"]) == (sha256_hex(b"old"), "i1", "expired")
    assert (stone["camera_id"], stone["kind"], stone["role"], stone["size_bytes"]) == (
        "kitchen",
        "no_mask",
        "original",
        3,
    )


def test_days_are_those_of_the_kind_then_of_the_tier_then_the_usual() -> None:
    section = EvidenceSection(keep_days=8, keep_days_by_tier={"I": 40}, keep_days_by_kind={"rodent": 90})
    assert section.days_for("no_mask", "II") == section.days_for("no_mask", None) == 8
    assert section.days_for("intruder", "I") == 40
    assert section.days_for("rodent", "I") == 90
    usual = EvidenceSection()
    assert min(usual.keep_days, *usual.keep_days_by_tier.values()) >= 7


def test_a_held_incident_loses_nothing_to_time_or_to_the_need_for_room(tmp_path: Path) -> None:
    ours = folder(tmp_path, bytes_max=20 * KIB)
    held, free = put(ours, b"h" * 6 * KIB, "held"), put(ours, b"f" * 6 * KIB, "free")
    ours.hold("held", "a case at context", NOON)
    for path in (held, free):
        age(path, NOON)
    assert ours.expire(days(1), NOON + timedelta(days=400)) == 1
    put(ours, b"1" * 6 * KIB, "next")
    put(ours, b"2" * 6 * KIB, "after")
    assert {item.incident_id for item in ours.files()} == {"held", "after"}
    assert [stone["why"] for stone in tombstones(ours)] == ["expired", "over_cap"]
    ours.hold("after", "", NOON)
    with pytest.raises(StorageFull):
        put(ours, b"3" * 12 * KIB, "no-room")
    assert held.exists()
    assert ours.release("held")
    assert not ours.release("held")
    put(ours, b"3" * 12 * KIB, "room-again")
    assert {item.incident_id for item in ours.files()} == {"after", "room-again"}


def test_a_picture_that_was_kept_by_a_wrong_clock_gets_its_time_from_when_the_clock_is_right(tmp_path: Path) -> None:
    ours = folder(tmp_path)
    past = datetime(2020, 1, 1, tzinfo=UTC)
    path = put(ours, b"in the past", taken_at=past, clock_synced=False)
    age(path, past)
    assert ours.expire(days(15), NOON) == 0
    assert ours.expire(days(15), NOON + timedelta(days=14)) == 0
    assert path.exists()
    assert ours.expire(days(15), NOON + timedelta(days=16)) == 1


@pytest.mark.parametrize("cut_at", ["renamed", "truncated", "told"])
def test_a_removal_that_a_power_cut_interrupts_is_finished_and_leaves_its_tombstone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_at: str
) -> None:
    ours = folder(tmp_path)
    age(put(ours, b"x" * 5000), NOON)

    class PowerCut(BaseException):
        """Nothing of the program goes on."""

    def cut(*_: object) -> None:
        raise PowerCut

    with monkeypatch.context() as power:
        if cut_at == "renamed":
            power.setattr(os, "truncate", cut)
        elif cut_at == "truncated":
            power.setattr(json, "dumps", cut)
        else:
            power.setattr(Path, "unlink", cut)
        with pytest.raises(PowerCut):
            ours.expire(days(1), NOON + timedelta(days=9))
    again = folder(tmp_path)
    assert again.recover(key_of) == []
    assert {(stone["why"], stone["kind"], stone["size_bytes"]) for stone in tombstones(again)} == {
        ("expired", "no_mask", 5000)
    }
    assert list((tmp_path / "evidence" / "incidents").iterdir()) == []


def test_what_is_torn_or_altered_is_set_aside_and_named_and_half_files_of_the_dead_are_dropped(tmp_path: Path) -> None:
    ours = folder(tmp_path)
    whole, torn, altered = (put(ours, name) for name in (b"whole", b"torn", b"altered"))
    torn.write_bytes(torn.read_bytes()[:-2])
    altered.write_bytes(altered.read_bytes()[:-1] + b"D")
    (whole.parent / "half.ble.4194999.part").write_bytes(b"half")  # no process has this number
    mine = whole.parent / f"half.ble.{os.getpid()}.part"
    mine.write_bytes(b"of a process that lives")
    assert set(ours.recover(key_of)) == {torn.name, altered.name}
    assert {path.name for path in whole.parent.iterdir()} == {whole.name, mine.name}
    assert {path.name for path in (tmp_path / "evidence" / "quarantine").iterdir()} == {torn.name, altered.name}


@pytest.mark.parametrize("name", ["", "../outside", "a/b", ".hidden", "x" * 65])
def test_an_incident_s_id_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    ours = folder(tmp_path)
    for call in (
        lambda: ours.put(original(b"x"), sha256_hex(b"x"), name),
        lambda: ours.hold(name, "", NOON),
        lambda: ours.release(name),
        lambda: ours.find(name, sha256_hex(b"x")),
    ):
        with pytest.raises(ValueError, match="no incident's id"):
            call()


def test_the_command_holds_releases_and_lists(run_edge: RunEdge, enrolled: Path) -> None:
    config = enrolled / "box.yaml"
    config.write_text(
        f"box: {{name: b, data_dir: {enrolled}}}\nserver: {{url: 'http://127.0.0.1:1'}}\n"
        "evidence: {sealed_to: [age1epsw8x76dflrss6kza53ce60un4xu3xw0wurk5fmka3c2zac3gvq4sek45]}\n"
    )
    put(folder(enrolled), b"kept", "i1")
    assert run_edge("evidence", "hold", "--incident", "i1", "--why", "context", config).stdout == "i1 is held\n"
    rows = json.loads(run_edge("evidence", "list", "--json", config).stdout)
    assert [(row["incident_id"], row["held"]) for row in rows] == [("i1", True)]
    assert folder(enrolled).holds() == {"i1"}
    assert run_edge("evidence", "release", "--incident", "i1", config).stdout == "i1 is released\n"
    refused = run_edge("evidence", "hold", "--incident", "../x", config)
    assert (refused.returncode, "is no incident's id" in refused.stderr) == (1, True)


def test_a_key_with_a_typing_mistake_is_refused_by_its_line(run_edge: RunEdge, enrolled: Path) -> None:
    config = enrolled / "box.yaml"
    wrong = "age1epsw8x76dflrss6kza53ce60un4xu3xw0wurk5fmka3c2zac3gvq4sek46"  # the last character is another
    config.write_text(
        f"box: {{name: b, data_dir: {enrolled}}}\nserver: {{url: 'http://127.0.0.1:1'}}\n"
        f"evidence: {{sealed_to: [{wrong}]}}\n"
    )
    refused = run_edge("check", config)
    assert refused.returncode == 2
    assert f"{config}:3: evidence.sealed_to: " in refused.stderr
    assert "is no age public key; make one with brightline-vision keygen" in refused.stderr


class CountingFolder(EvidenceFolder):
    """Counts how often it looks at every file."""

    scans = 0

    def files(self) -> list[KeptFile]:
        self.scans += 1
        return super().files()


def test_what_is_kept_is_summed_up_once_and_not_for_each_file_that_comes(tmp_path: Path) -> None:
    put(folder(tmp_path), b"before a restart", "i0")
    ours = CountingFolder(tmp_path / "evidence", bytes_max=100 * KIB, free_bytes_min=0)
    for number in range(5):
        put(ours, b"%d" % number * KIB, f"i{number}")
        put(ours, b"%d" % number * KIB, f"i{number}")  # the same again is no more than once
    assert ours.scans == 1
    assert ours._kept_bytes == sum(item.size_bytes for item in ours.files())


def test_the_cap_is_kept_to_the_byte_when_two_processes_fill_one_folder(tmp_path: Path) -> None:
    size_bytes = put(folder(tmp_path / "other"), b"0" * KIB, "i").stat().st_size
    both = [folder(tmp_path, bytes_max=4 * size_bytes) for _ in range(2)]
    paths = [put(both[number % 2], b"%d" % number * KIB, "i") for number in range(4)]
    assert tombstones(both[0]) == []
    for number, path in enumerate(paths):
        age(path, NOON + timedelta(seconds=number))
    put(both[0], b"4" * KIB, "i")
    put(both[0], b"5" * KIB, "i")
    both[1].expire(days(1), NOON + timedelta(days=1, seconds=2.5))  # one more; the other one has to see it
    put(both[0], b"6" * KIB, "i")
    assert len(both[0].files()) == 4
    assert [stone["why"] for stone in tombstones(both[0])] == ["over_cap", "over_cap", "expired"]


def test_a_file_that_could_not_be_kept_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = folder(tmp_path)
    put(ours, b"1" * KIB, "i")

    def fail(target: Path, data: bytes) -> None:
        raise OSError(errno.EIO, "the card is worn out")

    with monkeypatch.context() as patch:
        patch.setattr("edge.evidence_folder.write_whole", fail)
        with pytest.raises(OSError, match="worn out"):
            put(ours, b"2" * KIB, "i")
    put(ours, b"3" * KIB, "i")
    assert ours._kept_bytes == sum(item.size_bytes for item in ours.files())
