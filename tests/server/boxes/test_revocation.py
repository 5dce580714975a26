"""From its revocation on nothing of a box is taken, and it keeps all until somebody enrols it again."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from server.accounts import ensure_site, make_enrolment_code
from server.blobs import FolderBlobStore
from server.boxes.settings import BoxSettings
from server.boxes.silence import look
from server.models import Alert
from server.series.stores import open_store
from server.settings import Settings
from server.verify import verify
from telemetry.batch import sha256_hex
from telemetry.forwarder import Forwarder
from telemetry.outbox import Outbox
from telemetry.signing import Signer
from telemetry.spool import EvidenceSpool
from tests.server.boxes.record import Record, at
from tests.server.boxes.test_commands import Caller, order
from tests.server.centre import Box, Centre, Person, is_problem, run_cli, run_here


@pytest.fixture(scope="module")
def administrator(centre: Centre) -> Person:
    return centre.person("administrator")


def revoke(who: Person, box: Box, status: int = 200) -> str:
    answer = who.post(f"/api/v1/boxes/{box.box_id}/revocation", headers=who.csrf)
    assert answer.status_code == status, answer.text
    return str(answer.json().get("revoked_at"))


def test_batches_pictures_calls_and_imports_after_it_are_refused(
    centre: Centre, administrator: Person, regulator: Person, jpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    box, other = centre.box(), centre.box()
    before = box.send_event()
    order(administrator, box, {"kind": "restart"})
    revoke(regulator, box, 403)
    assert revoke(administrator, box) == revoke(administrator, box)
    late = box.seal("events", [box.event()])
    refused = box.send(late)
    assert (refused.status_code, refused.json()["code"]) == (403, "revoked")
    assert is_problem(refused)
    both = other.send(other.seal("events", [other.event()]), late)
    assert both.status_code == 403
    picture = jpeg(83)
    assert box.send_evidence(box.evidence(picture, before.incident_id), sha256_hex(picture)).status_code == 403
    caller = Caller(box)
    assert caller.post(caller.call()).status_code == 403
    export = tmp_path / "export.blb"
    export.write_bytes(late)
    done = run_here("import", str(export), "--data", str(centre.data))
    assert "refused" in done.stdout + done.stderr
    assert regulator.get(f"/api/v1/boxes/{box.box_id}/stats").json()["events"] == 1
    assert regulator.get(f"/api/v1/boxes/{box.box_id}/commands").json()["commands"][0]["state"] == "expired"
    other.send_event()


def test_what_it_signed_before_stays_valid(data: Path) -> None:
    centre = Centre(data)
    try:
        box = centre.box()
        box.send_event()
        revoke(centre.person("administrator"), box)
    finally:
        assert centre.stop() == 0
    record = Record(data)
    with record.writing() as db:
        settings = Settings(data_dir=data)
        found = verify(db, FolderBlobStore(settings.blob_dir), open_store(settings.series, record.engine))
    record.engine.dispose()
    assert (found.problems, found.events) == ([], 1)


def test_box_keeps_everything_and_says_why(
    centre: Centre, administrator: Person, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    box = centre.box()
    revoke(administrator, box)

    async def scenario(outbox: Outbox) -> None:
        outbox.commit([], [box.event()], {})
        forwarder = Forwarder(outbox, EvidenceSpool(tmp_path / "spool"), centre.url)
        task = asyncio.create_task(forwarder.run())
        async with asyncio.timeout(25):
            while not forwarder.failures:
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])

    path = tmp_path / "outbox.sqlite"
    with caplog.at_level(logging.WARNING), Outbox.open(path, box.box_id, box.signer, boot_id="boot") as outbox:
        asyncio.run(scenario(outbox))
        assert outbox.status().lanes["events"].pending_records == 1
    assert "the centre has revoked this box" in caplog.text


def test_revoked_box_is_not_waited_for(data: Path) -> None:
    record = Record(data)
    settings = BoxSettings(silent_after_s=100, look_s=10)

    def watch(first_s: int, last_s: int) -> list[Alert]:
        found = []
        for second in range(first_s, last_s + 1, 10):
            with record.writing() as db:
                found += look(db, settings, at(second))
        return found

    def take_away(name: str, second: float) -> None:
        from server.models import Box as Row

        with record.writing() as db:
            db.get_one(Row, name).revoked_at = at(second)

    record.box("silent-first")
    assert len(watch(0, 120)) == 1
    take_away("silent-first", 125)
    record.box("revoked-first")
    take_away("revoked-first", 125)
    (ended,) = watch(130, 300)
    assert (ended.source_id, ended.ended_at) == ("silent-first", at(125))
    record.engine.dispose()


def test_box_that_is_enrolled_again_keeps_its_name_and_its_record(data: Path) -> None:
    centre = Centre(data)
    try:
        box, administrator = centre.box(), centre.person("administrator")
        box.send_event()
        lost = box.signer
        revoke(administrator, box)

        def enrol(signer: Signer) -> httpx.Response:
            code = run_cli("enrol", "--box", box.box_id, "--data", str(data)).stdout.strip()
            body = {"code": code, "public_key": signer.public_key_b64, "name": "other"}
            with centre.client() as client:
                return client.post("/api/v1/enrol", json=body)

        assert enrol(lost).status_code == 422  # the key that may be in other hands
        fresh = Signer.generate()
        answer = enrol(fresh)
        assert (answer.status_code, answer.json()["box_id"]) == (201, box.box_id)
        forged = box.send(box.seal("events", [box.event()]))
        assert (forged.status_code, forged.json()["code"]) == (400, "signature")
        box.signer, box.epoch, box._last = fresh, "anew", {}
        box.send_event()
        listed = administrator.get("/api/v1/boxes").json()["boxes"]
        assert [(item["id"], item["name"], item["revoked_at"]) for item in listed] == [(box.box_id, "box", None)]
    finally:
        assert centre.stop() == 0
    found = run_here("verify", "--data", str(data), "--json")
    assert json.loads(found.stdout)["problems"] == []
    assert json.loads(found.stdout)["events"] == 2


def test_code_for_a_box_that_does_not_exist_is_refused(data: Path) -> None:
    run_cli("migrate", "--data", str(data))
    done = run_here("enrol", "--box", "box-nobody", "--data", str(data))
    assert (done.returncode, "no box box-nobody" in done.stderr) == (2, True)


def test_no_box_enrols_as_what_the_centre_signs_for(data: Path) -> None:
    record = Record(data)
    for box_id in ("vendor-1-kitchen-vision", "gateway-1-abcdef12"):
        record.box(box_id)
        with record.writing() as db, pytest.raises(ValueError, match="the centre signs for it"):
            make_enrolment_code(db, ensure_site(db, "Canteen A"), box_id=box_id)
    record.engine.dispose()
