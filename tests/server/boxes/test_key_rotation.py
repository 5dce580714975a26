"""A box that changes its key: what the old one signed stays good, what it signs afterwards does not."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from sqlalchemy import select

from server.audit import CONSOLE
from server.box_api import _take
from server.boxes.keys import OVERLAP, door_key, replace_key
from server.boxes.revocation import revoke
from server.ingest import take_batch
from server.merkle.public_keys import keys_of_record, read_public_keys
from server.models import Box as Row
from server.models_boxes import BoxKey
from telemetry.batch import BatchError, open_batch, sha256_hex
from telemetry.key_change import sign_change
from telemetry.signing import Signer
from tests.server.centre import AT, Box, Centre, reading
from tests.server.tenancy.district import District, settled


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[District]:
    with settled(tmp_path_factory.mktemp("keys"), lambda *_: b"", places=()) as district:
        yield district


def make_box(centre: District) -> Box:
    return Box(cast(Centre, centre), "A")


def change(centre: District, box: Box, new: Signer, old: Signer | None = None, **said: Any) -> httpx.Response:
    signed = sign_change(box.box_id, old or box.signer, new, box.epoch)
    return centre.client_.post("/api/v1/boxes/self/key", json={**signed.model_dump(), **said})


def rotate(centre: District, box: Box) -> Signer:
    """A new key for *box*, which goes on with it; gives the old one."""
    old, box.signer = box.signer, Signer.generate()
    answer = change(centre, box, box.signer, old)
    assert (answer.status_code, answer.json().get("public_key")) == (200, box.signer.public_key_b64), answer.text
    return old


def code_of(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    return answer.status_code, body.get("code") or body["receipts"][0]["status"]


def test_what_waited_is_taken_after_a_change_and_the_record_verifies(
    centre: District, jpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    box = make_box(centre)
    event = box.send_event()
    waiting = box.seal("events", [box.event()])
    first_readings = box.seal("readings", [reading(4.0)])
    picture = jpeg(51)
    sealed = box.evidence(picture, event.incident_id)
    rotate(centre, box)
    newer = box.seal("events", [box.event()])
    assert code_of(box.send(newer)) == (200, "accepted")
    assert code_of(box.send(waiting)) == (200, "accepted")
    assert code_of(box.send(waiting)) == (200, "duplicate")
    assert code_of(box.send(first_readings)) == (200, "accepted")
    assert box.send_evidence(sealed, sha256_hex(picture)).status_code == 201
    old = rotate(centre, box)
    box.send_event()
    assert centre.verified().problems == []
    with centre.database() as db:
        (tmp_path / "keys.txt").write_text(keys_of_record(db, old.public_key).text, "utf-8")
    keys = read_public_keys(tmp_path / "keys.txt").boxes[box.box_id]
    assert len(keys.older) == 2
    assert open_batch(waiting, lambda _: keys).header.seq == 2


def test_old_key_counts_neither_behind_the_new_one_nor_in_another_epoch(centre: District) -> None:
    box = make_box(centre)
    box.send_event()
    old = rotate(centre, box)
    box.send_event()
    box.signer = old
    assert code_of(box.send(box.seal("events", [box.event()]))) == (401, "replaced_key")
    box.epoch, box._last = uuid.uuid4().hex, {}
    assert code_of(box.send(box.seal("events", [box.event()]))) == (401, "replaced_key")


def test_batch_under_way_while_the_key_changes_is_judged_by_the_keys_of_its_transaction(centre: District) -> None:
    box = make_box(centre)
    box.send_event()
    with centre.database() as db:
        seen = {box.box_id: door_key(db, box.box_id)}
    waiting = open_batch(box.seal("events", [box.event()]), seen.get)
    old = rotate(centre, box)
    with centre.database() as db:
        assert [receipt.status for receipt in _take(db, [waiting], seen, True)[0]] == ["accepted"]
    box.send_event()
    box.signer = old
    late = open_batch(box.seal("events", [box.event()]), seen.get)
    with centre.database() as db, pytest.raises(BatchError) as refused:
        _take(db, [late], seen, True)
    assert refused.value.code == "replaced_key"
    with centre.database() as db:
        replace_key(db, db.get_one(Row, box.box_id), Signer.generate().public_key, AT)
    with centre.database() as db, pytest.raises(BatchError) as refused:
        _take(db, [late], seen, True)
    assert refused.value.code == "signature"


def test_of_two_changes_at_once_one_is_done_and_the_other_refused(centre: District) -> None:
    box = make_box(centre)
    news = [Signer.generate() for _ in range(4)]
    with ThreadPoolExecutor(len(news)) as pool:
        answers = list(pool.map(lambda new: change(centre, box, new), news))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    (box.signer,) = [new for new, answer in zip(news, answers, strict=True) if answer.status_code == 200]
    box.send_event()
    with centre.database() as db:
        assert len(db.scalars(select(BoxKey).where(BoxKey.box_id == box.box_id)).all()) == 1


def test_box_that_began_an_epoch_before_anything_arrived_is_believed(centre: District) -> None:
    box = make_box(centre)
    waiting = box.seal("events", [box.event()])
    rotate(centre, box)
    assert code_of(box.send(waiting)) == (200, "accepted")


def test_same_change_again_is_done_once_and_any_other_is_refused(centre: District) -> None:
    box = make_box(centre)
    old = rotate(centre, box)
    assert change(centre, box, box.signer, old).status_code == 200
    assert code_of(change(centre, box, old)) == (409, "key")  # back to what it was
    assert code_of(change(centre, box, Signer.generate(), old)) == (409, "key")
    assert code_of(change(centre, box, box.signer, Signer.generate())) == (409, "key")
    forged = sign_change(box.box_id, Signer.generate(), Signer.generate(), None)
    for name in ("old_signature", "new_signature"):
        assert code_of(change(centre, box, Signer.generate(), **{name: forged.old_signature})) == (400, "signature")
    assert code_of(change(centre, box, Signer.generate(), said="{}")) == (400, "signature")
    first = box.signer
    rotate(centre, box)
    assert code_of(change(centre, box, first, old)) == (409, "key")  # recorded, and sent after the next change
    box.send_event()
    box.box_id = "box-nobody"
    assert code_of(change(centre, box, Signer.generate())) == (401, "unknown_box")


def test_revoked_box_cannot_change_its_key(centre: District) -> None:
    box = make_box(centre)
    with centre.database() as db:
        revoke(db, db.get_one(Row, box.box_id), CONSOLE)
    assert code_of(change(centre, box, Signer.generate())) == (403, "revoked")
    with centre.database() as db:
        assert db.get_one(Row, box.box_id).public_key == box.signer.public_key_b64


def test_picture_with_the_old_key_comes_too_late_after_a_month(centre: District, jpeg: Callable[..., bytes]) -> None:
    box = make_box(centre)
    event = box.send_event()
    picture = jpeg(52)
    sealed = box.evidence(picture, event.incident_id)
    rotate(centre, box)
    with centre.database() as db:
        db.scalars(select(BoxKey).where(BoxKey.box_id == box.box_id)).one().replaced_at -= OVERLAP + timedelta(days=1)
    answer = box.send_evidence(sealed, sha256_hex(picture))
    assert code_of(answer) == (400, "signature")


def test_change_is_in_the_audit_log_and_on_the_page_of_the_boxes(centre: District) -> None:
    box = make_box(centre)
    rotate(centre, box)
    administrator = centre.somebody("administrator", "")
    (shown,) = [
        item for item in centre.ask(administrator, "GET", "/api/v1/boxes").json()["boxes"] if item["id"] == box.box_id
    ]
    assert shown["key_since"] > shown["enrolled_at"]
    assert "Key since" in centre.ask(administrator, "GET", "/boxes").text
    assert "took a new key" in centre.ask(administrator, "GET", "/audit").text


def test_verify_finds_what_a_replaced_key_signed_behind_the_new_one(centre: District) -> None:
    box = make_box(centre)
    box.send_event()
    old = rotate(centre, box)
    box.send_event()
    box.signer = old
    with centre.database() as db:
        take_batch(db, open_batch(box.seal("events", [box.event()]), lambda _: old.public_key))
    assert any("signed by a key that was replaced before" in line for line in centre.verified().problems)
