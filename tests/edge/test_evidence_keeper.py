"""The keeper tells what was removed and what was torn, each once, also over a restart."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from edge.config_evidence import EvidenceSection
from edge.evidence_folder import EvidenceFolder
from edge.evidence_keeper import STATE_KEY, EvidenceKeeper
from telemetry.batch import sha256_hex
from telemetry.messages import Event
from telemetry.spool import EvidenceSpool
from tests.edge.originals import NOON, SIGNER, original, put

SETTINGS = EvidenceSection(keep_days=7, free_bytes_min=0)


class ScriptedRecord:
    """Keeps what is recorded."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.state: dict[str, str | None] = {}

    async def __call__(self, events: Sequence[Event], state: dict[str, str | None]) -> None:
        self.events += events
        self.state |= state


def keeper(box: Path, record: ScriptedRecord) -> tuple[EvidenceKeeper, EvidenceFolder, EvidenceSpool]:
    folder = EvidenceFolder(box / "evidence", bytes_max=10**9, free_bytes_min=0)
    spool = EvidenceSpool(box / "spool")
    told = record.state.get(STATE_KEY)
    ours = EvidenceKeeper(
        folder, spool, SETTINGS, box_id="box-1", public_key=SIGNER.public_key, told=told, record=record
    )
    return ours, folder, spool


def test_what_was_removed_is_told_once_with_the_reason_also_over_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.evidence_keeper.clock_synced", lambda: True)
    record = ScriptedRecord()
    ours, folder, _ = keeper(tmp_path, record)
    old = put(folder, b"old")
    put(folder, b"new", "i2")
    os.utime(old, (NOON.timestamp(), NOON.timestamp()))
    asyncio.run(ours.clean())
    asyncio.run(ours.clean())
    again, _, _ = keeper(tmp_path, record)
    asyncio.run(again.clean())
    (told,) = record.events
    assert told.type == "box_status"
    assert told.data == {
        "kind": "evidence", "status": "evidence_purged", "why": "expired", "files": [sha256_hex(b"old")]
    }  # fmt: skip


def test_nothing_expires_while_the_clock_is_not_known_to_be_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.evidence_keeper.clock_synced", lambda: False)
    record = ScriptedRecord()
    ours, folder, _ = keeper(tmp_path, record)
    old = put(folder, b"old")
    os.utime(old, ((NOON - timedelta(days=900)).timestamp(),) * 2)
    asyncio.run(ours.clean())
    assert old.exists()
    assert record.events == []


def test_a_torn_file_of_spool_or_folder_is_set_aside_and_told_and_the_rest_stays(tmp_path: Path) -> None:
    record = ScriptedRecord()
    ours, folder, spool = keeper(tmp_path, record)
    kept = put(folder, b"kept")
    torn = put(folder, b"torn")
    torn.write_bytes(b"BLE1")
    sent, foreign = (spool.put(original(blob), sha256_hex(blob)) for blob in (b"sent", b"foreign"))
    foreign.rename(foreign.with_name("f" * 64 + ".ble"))
    asyncio.run(ours.recover())
    (told,) = record.events
    assert (told.data["status"], set(told.data["files"])) == (  # type: ignore[arg-type]
        "evidence_quarantined", {"f" * 64 + ".ble", torn.name}
    )  # fmt: skip
    assert spool.waiting() == [sent]
    assert kept.exists()
