"""Pictures from boxes: whole, signed, and kept under their own digest."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

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
    sealed = box.evidence(film, "incident-film", media_type="video/mp4", role="clip")
    assert box.send_evidence(sealed, sha256_hex(film)).status_code == 201
    shown = regulator.get(f"/api/v1/evidence/{sha256_hex(film)}")
    assert (shown.content, shown.headers["content-type"]) == (film, "video/mp4")
    assert f'src="/api/v1/evidence/{sha256_hex(film)}"' in regulator.get(f"/alerts/{alert_id}").text


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


def test_the_same_picture_for_another_incident_is_a_conflict_and_not_lost_in_silence(box: Box, jpeg: Jpeg) -> None:
    blob = jpeg(7)
    assert box.send_evidence(box.evidence(blob, "incident-a"), sha256_hex(blob)).status_code == 201
    assert refused(box, box.evidence(blob, "incident-b"), sha256_hex(blob)) == 409


def test_a_box_cannot_put_its_picture_on_another_boxs_alert(box: Box, staff: Person, jpeg: Jpeg) -> None:
    event = box.send_event("violation_opened", data={"kind": "no_mask"})
    blob, intruder = jpeg(8), box.centre.box("Canteen B")
    assert intruder.send_evidence(intruder.evidence(blob, event.incident_id), sha256_hex(blob)).status_code == 201
    assert staff.get(f"/api/v1/evidence/{sha256_hex(blob)}").status_code == 404
