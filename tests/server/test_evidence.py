"""Pictures from boxes: whole, signed, and kept under their own digest."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from sqlalchemy import select

from server.models_audit import AuditEntry
from telemetry.batch import sha256_hex
from telemetry.evidence import BLOB_BYTES_MAX
from tests.server.centre import Box, Centre, Person, is_problem

Jpeg = Callable[..., bytes]


@pytest.fixture(scope="module")
def box(centre: Centre) -> Box:
    return centre.box()


def refused(box: Box, sealed: bytes, sha256: str) -> int:
    before = box.centre.dump()
    answer = box.send_evidence(sealed, sha256)
    assert 400 <= answer.status_code < 500, answer.text
    assert is_problem(answer)
    assert box.centre.dump() == before
    return answer.status_code


def test_a_picture_is_kept_once_and_shown_with_its_alert(box: Box, regulator: Person, jpeg: Jpeg) -> None:
    blob = jpeg(1)
    event = box.send_event("violation_opened", data={"kind": "no_mask"})
    sealed = box.evidence(blob, event.incident_id)
    assert box.send_evidence(sealed, sha256_hex(blob)).status_code == 201
    before = box.centre.dump()
    assert box.send_evidence(sealed, sha256_hex(blob)).status_code == 201
    assert box.centre.dump() == before
    shown = regulator.get(f"/api/v1/evidence/{sha256_hex(blob)}")
    assert (shown.content, shown.headers["content-type"]) == (blob, "image/jpeg")


def test_a_film_is_given_out_as_a_film_and_stands_on_the_page_of_its_alert(
    box: Box, regulator: Person, jpeg: Jpeg
) -> None:
    film, still = b"\0\0\0\x18ftypisom" + b"film" * 20, jpeg(17)
    alert_id = box.raise_alert(
        regulator, type="violation_opened", incident_id="incident-film", data={"kind": "no_mask"}
    )
    box.send_evidence(box.evidence(still, "incident-film"), sha256_hex(still))
    sealed = box.evidence(film, "incident-film", media_type="video/mp4", role="film")
    assert box.send_evidence(sealed, sha256_hex(film)).status_code == 201
    shown = regulator.get(f"/api/v1/evidence/{sha256_hex(film)}")
    assert (shown.content, shown.headers["content-type"]) == (film, "video/mp4")
    assert f'src="/api/v1/evidence/{sha256_hex(film)}"' in regulator.get(f"/alerts/{alert_id}").text


@pytest.mark.parametrize("role", ["original", "clip"])
def test_a_plain_original_is_refused(box: Box, jpeg: Jpeg, role: str) -> None:
    assert refused(box, box.evidence(jpeg(21), role=role), sha256_hex(jpeg(21))) == 422


SEALED = b"age-encryption.org/v1\n" + b"sealed" * 50


@pytest.fixture(scope="module")
def sealed(box: Box, staff: Person, jpeg: Jpeg) -> tuple[int, bytes]:
    """An alert with a snapshot and a sealed original: its id, and the sealed file as the box sent it."""
    alert_id = box.raise_alert(staff, kind="violation_opened", incident_id="sealed-1", data={"kind": "no_mask"})
    box.send_evidence(box.evidence(jpeg(22), "sealed-1", faces="blurred"), sha256_hex(jpeg(22)))
    file = box.evidence(
        SEALED, "sealed-1", role="sealed", media_type="application/age-encryption", original_role="original",
        original_sha256=sha256_hex(b"plain"),
    )  # fmt: skip
    assert box.send_evidence(file, sha256_hex(SEALED)).status_code == 201
    return alert_id, file


def test_a_sealed_original_is_given_to_a_regulator_as_the_signed_file_and_that_is_noted(
    box: Box, regulator: Person, sealed: tuple[int, bytes]
) -> None:
    given = regulator.get(f"/api/v1/evidence/{sha256_hex(SEALED)}")
    assert given.content == sealed[1]
    assert given.headers["content-type"] == "application/octet-stream"
    assert given.headers["content-disposition"].startswith('attachment; filename="sealed-')
    assert (given.headers["cache-control"], given.headers["x-content-type-options"]) == ("no-store", "nosniff")
    text = regulator.get(f"/alerts/{sealed[0]}").text
    assert f'href="/api/v1/evidence/{sha256_hex(SEALED)}" download' in text
    assert "brightline-vision unseal" in text
    assert "人脸已遮蔽" in text
    with box.centre.changing() as db:
        taken = list(db.scalars(select(AuditEntry).where(AuditEntry.action == "evidence.sealed")))
        assert [(entry.actor_name, entry.object_id) for entry in taken] == [(regulator.name, sha256_hex(SEALED))]


def test_nobody_else_is_given_a_sealed_original_or_told_of_it(
    box: Box, staff: Person, sealed: tuple[int, bytes]
) -> None:
    for person in (staff, box.centre.person("administrator")):
        assert person.get(f"/api/v1/evidence/{sha256_hex(SEALED)}").status_code == 404
        assert "sealed" not in {item["role"] for item in person.get(f"/api/v1/alerts/{sealed[0]}").json()["evidence"]}
        page = person.get(f"/alerts/{sealed[0]}")
        assert page.status_code == 200
        assert sha256_hex(SEALED) not in page.text


def test_altered_cut_or_foreign_bytes_leave_no_trace(box: Box, jpeg: Jpeg) -> None:
    blob = jpeg(2)
    sealed, name = box.evidence(blob), sha256_hex(blob)
    head = struct.unpack(">I", sealed[4:8])[0]
    for position in (0, 5, 9, 12, 12 + head // 2, 12 + head - 1, 12 + head, 12 + head + 63, 12 + head + 64, -1):
        altered = bytearray(sealed)
        altered[position] ^= 1
        assert refused(box, bytes(altered), name) in (400, 401, 413)
    for body in (b"", b"BLE1", sealed[:11], sealed[:-1], sealed + b"x", blob):
        assert refused(box, body, name) == 400
    assert box.send_evidence(sealed, name).status_code == 201


def test_a_digest_other_than_the_manifest_says_is_refused(box: Box, jpeg: Jpeg) -> None:
    sealed = box.evidence(jpeg(3))
    other = jpeg(4)[: len(jpeg(3))].ljust(len(jpeg(3)), b"x")
    assert refused(box, sealed[: -len(jpeg(3))] + other, sha256_hex(jpeg(3))) == 400


def test_a_picture_under_a_foreign_name_is_refused(box: Box, jpeg: Jpeg) -> None:
    sealed = box.evidence(jpeg(5))
    for name in ("0" * 64, sha256_hex(jpeg(5)).upper(), "..%2f..%2fetc%2fpasswd", "x"):
        assert refused(box, sealed, name) in (400, 404)


def test_a_stranger_and_a_too_large_picture_are_refused(box: Box, jpeg: Jpeg) -> None:
    stranger = box.evidence(jpeg(6), box_id="box-unknown")
    assert refused(box, stranger, sha256_hex(jpeg(6))) == 401
    assert refused(box, b"BLE1" + bytes(BLOB_BYTES_MAX + 20_000), "0" * 64) == 413


def test_a_box_cannot_put_its_picture_on_another_boxs_alert(box: Box, staff: Person, jpeg: Jpeg) -> None:
    event = box.send_event("violation_opened", data={"kind": "no_mask"})
    blob, intruder = jpeg(8), box.centre.box("Canteen B")
    assert intruder.send_evidence(intruder.evidence(blob, event.incident_id), sha256_hex(blob)).status_code == 201
    assert staff.get(f"/api/v1/evidence/{sha256_hex(blob)}").status_code == 404
