"""Batches: taken once, whole, and only from the box that signed them."""

from __future__ import annotations

import random
import struct
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
import zstandard

from telemetry.batch import FIRST_PREVIOUS, FRAME_BYTES_MAX, seal_batch, sha256_hex
from telemetry.signing import Signer
from tests.server.centre import AT, Box, Centre, Person, is_problem, reading


@pytest.fixture(scope="module")
def box(centre: Centre) -> Box:
    return centre.box()


def statuses(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [receipt["status"] for receipt in answer.json()["receipts"]]


def signed(box: Box, payload: bytes, count: int = 1) -> bytes:
    head = box.header("readings", count, epoch="hand-made").model_dump_json().encode()
    body = b"BLB1" + struct.pack(">II", len(head), len(payload)) + head + payload
    return body + box.signer.sign(body)


def test_batches_of_both_lanes_are_accepted_once(centre: Centre, regulator: Person) -> None:
    box = centre.box()
    frames = [
        box.seal("readings", [reading(4, 0), reading(5, 1)]),
        box.seal("readings", [reading(6, 2)]),
        box.seal("events", [box.event()]),
    ]
    assert statuses(box.send(*frames)) == ["accepted"] * 3
    before = centre.dump()
    assert statuses(box.send(*frames)) == ["duplicate"] * 3
    assert statuses(box.send(frames[1])) == ["duplicate"]
    assert centre.dump() == before
    stats = regulator.get(f"/api/v1/boxes/{box.box_id}/stats").json()
    assert (stats["readings"], stats["points"], stats["events"], stats["alerts"]) == (3, 3, 1, 1)


def refused(box: Box, body: bytes) -> int:
    """The status of a request that must be refused and leave no trace."""
    before = box.centre.dump()
    answer = box.send(body)
    assert 400 <= answer.status_code < 500, answer.text
    assert is_problem(answer)
    assert box.centre.dump() == before
    return answer.status_code


def test_an_altered_byte_anywhere_is_refused_without_a_trace(box: Box) -> None:
    raw = box.seal("readings", [reading(4, number) for number in range(20)], epoch="altered", seq=1)
    head, payload = struct.unpack(">II", raw[4:12])
    parts = [(0, 4), (4, 12), (12, 12 + head), (12 + head, 12 + head + payload), (12 + head + payload, len(raw))]
    pick = random.Random(7)
    for start, end in parts:
        for position in {start, end - 1, *(pick.randrange(start, end) for _ in range(6))}:
            altered = bytearray(raw)
            altered[position] ^= 1 << pick.randrange(8)
            refused(box, bytes(altered))
    assert statuses(box.send(raw)) == ["accepted"]


def test_one_bad_batch_in_a_request_leaves_none_of_it(box: Box) -> None:
    good = box.seal("readings", [reading()], epoch="mixed", seq=1, previous_sha256=FIRST_PREVIOUS)
    assert refused(box, good + good[:-1] + bytes([good[-1] ^ 1])) == 400
    not_json = signed(box, zstandard.ZstdCompressor().compress(b"no json"))
    assert refused(box, good + not_json) == 400
    assert statuses(box.send(good)) == ["accepted"]


def test_a_box_that_is_not_enrolled_is_told_so(box: Box) -> None:
    header = box.header("readings", epoch="stranger", box_id="box-unknown")
    assert refused(box, seal_batch(header, [reading()], box.signer)) == 401
    mine = box.header("readings", epoch="stranger")
    assert refused(box, seal_batch(mine, [reading()], Signer.generate())) == 400


def test_truncated_empty_and_foreign_bodies_are_refused(box: Box) -> None:
    raw = box.seal("readings", [reading()], epoch="cut", seq=1)
    for body in (b"", b"BLB1", raw[:5], raw[:11], raw[:-1], raw[:-65], b'{"json": true}', raw + b"x"):
        assert refused(box, body) == 400


def test_bodies_beyond_the_limit_are_refused_declared_or_not(box: Box) -> None:
    assert refused(box, b"BLB1" + bytes(FRAME_BYTES_MAX)) == 413
    assert refused(box, b"BLB1" + struct.pack(">II", 10, 0xFFFFFFFF) + bytes(100)) == 413
    with box.centre.client() as client:
        try:
            answer = client.post("/api/v1/batches", content=(bytes(65536) for _ in range(FRAME_BYTES_MAX // 65536 + 2)))
        except httpx.WriteError:
            return  # cut off while sending: refused as well
    assert answer.status_code == 413
    assert is_problem(answer)


def test_a_signed_bomb_is_refused_without_a_trace(box: Box) -> None:
    bomb = zstandard.ZstdCompressor().compress(b" " * (40 * 1024 * 1024))
    assert refused(box, signed(box, bomb)) == 413
    assert refused(box, signed(box, b"not zstd")) == 400
    assert refused(box, signed(box, zstandard.ZstdCompressor().compress(b"[{},{}]"))) == 400


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "nonsense"])
def test_a_record_with_an_impossible_time_is_named_and_the_batch_is_taken(box: Box, at: str) -> None:
    item = reading().model_dump_json().replace(AT.isoformat().replace("+00:00", "Z"), at)
    header = box.header("readings", epoch=sha256_hex(at.encode())[:8])
    head, payload = header.model_dump_json().encode(), zstandard.ZstdCompressor().compress(f"[{item}]".encode())
    body = b"BLB1" + struct.pack(">II", len(head), len(payload)) + head + payload
    answer = box.send(body + box.signer.sign(body))
    assert statuses(answer) == ["accepted"]
    assert answer.json()["receipts"][0]["rejected_records"][0]["index"] == 0


def test_a_number_beyond_the_database_is_refused_and_not_a_fault(box: Box) -> None:
    raw = box.seal("readings", [reading()], epoch="number", seq=2**53)
    head = raw[12 : 12 + struct.unpack(">I", raw[4:8])[0]].replace(str(2**53).encode(), str(2**70).encode())
    packed = zstandard.ZstdCompressor().compress(b"[{}]")
    body = b"BLB1" + struct.pack(">II", len(head), len(packed)) + head + packed
    assert refused(box, body + box.signer.sign(body)) == 400


def test_a_broken_chain_and_a_conflict_are_refused_by_receipt(centre: Centre) -> None:
    box = centre.box()
    assert statuses(box.send(box.seal("readings", [reading()]))) == ["accepted"]
    before = centre.dump()
    for raw, reason in (
        (seal_batch(box.header("readings", previous_sha256="1" * 64), [reading()], box.signer), "chain"),
        (seal_batch(box.header("readings", seq=1, previous_sha256="0" * 64), [reading(9)], box.signer), "conflict"),
        (seal_batch(box.header("events", previous_sha256="1" * 64), [box.event()], box.signer), "chain"),
    ):
        answer = box.send(raw)
        assert statuses(answer) == ["rejected"]
        assert answer.json()["receipts"][0]["reason"].startswith(reason)
    assert centre.dump() == before


def test_batches_out_of_order_are_a_gap_that_can_be_filled(centre: Centre) -> None:
    box = centre.box()
    first, second, third = (box.seal("readings", [reading(1, number)]) for number in range(3))
    assert statuses(box.send(third)) == ["accepted"]
    assert statuses(box.send(first)) == ["accepted"]
    foreign = seal_batch(box.header("readings", seq=2, previous_sha256=sha256_hex(first)), [reading(7, 7)], box.signer)
    assert statuses(box.send(foreign)) == ["rejected"]
    assert statuses(box.send(second)) == ["accepted"]


def test_many_senders_at_once_store_each_batch_exactly_once(centre: Centre, regulator: Person) -> None:
    boxes = [centre.box() for _ in range(3)]
    frames = [(box, box.seal("readings", [reading(1, number)])) for number in range(10) for box in boxes]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda item: statuses(item[0].send(item[1])), frames * 2))
    assert sorted(status for one in found for status in one) == ["accepted"] * 30 + ["duplicate"] * 30
    for box in boxes:
        stats = regulator.get(f"/api/v1/boxes/{box.box_id}/stats").json()
        assert (stats["readings_batches"], stats["points"]) == (10, 10)


def test_an_end_that_comes_before_its_beginning_makes_one_alert(centre: Centre, regulator: Person) -> None:
    box = centre.box()
    end = box.send_event("sensor_recovered", data={"kind": None})
    box.send_event("sensor_fault", incident_id=end.incident_id, data={"kind": "sensor_fault"})
    found = [
        item for item in regulator.get("/api/v1/alerts").json()["alerts"] if item["incident_id"] == end.incident_id
    ]
    assert [(item["kind"], item["ended_at"] is not None) for item in found] == [("sensor_fault", True)]


def test_a_warning_is_an_alert_that_does_not_go_on_and_missing_readings_are_a_kind_of_their_own(
    centre: Centre, regulator: Person
) -> None:
    box = centre.box()
    known = {item["id"] for item in regulator.get("/api/v1/alerts", params={"limit": 200}).json()["alerts"]}
    for kind, data in (
        ("warning", {"kind": "temperature_warning", "reason": "rising"}),
        ("warning", {"kind": None}),
        ("sensor_fault", {"kind": "data_gap"}),
        ("defrost", {"kind": "defrost"}),
    ):
        box.send_event(kind, data=data)
    alerts = regulator.get("/api/v1/alerts", params={"limit": 200}).json()["alerts"]
    found = [item for item in alerts if item["id"] not in known]
    assert sorted((item["kind"], item["tier"]) for item in found) == [
        ("data_gap", 2),
        ("temperature_warning", 3),
        ("temperature_warning", 3),
    ]
    for item in found:
        assert (item["ended_at"] == item["opened_at"]) == (item["kind"] == "temperature_warning")


def test_an_older_update_that_comes_late_does_not_undo_a_newer_one(centre: Centre, regulator: Person) -> None:
    box = centre.box()
    alert_id = box.raise_alert(regulator)
    incident_id = regulator.get(f"/api/v1/alerts/{alert_id}").json()["incident_id"]
    for minutes, peak_c in ((10, 14.0), (5, 12.0)):
        at = AT + timedelta(minutes=minutes)
        box.send_event("excursion_updated", incident_id=incident_id, at=at, data={"peak_c": peak_c})
    assert regulator.get(f"/api/v1/alerts/{alert_id}").json()["data"]["peak_c"] == 14.0


def test_what_was_receipted_survives_a_power_cut(centre: Centre) -> None:
    box = centre.box()
    frames = [box.seal("readings", [reading(1, number)]) for number in range(5)] + [box.seal("events", [box.event()])]
    assert statuses(box.send(*frames)) == ["accepted"] * 6
    centre.kill()
    before = centre.dump()
    assert sum(row[1] == box.box_id for row in before["batch"]) == 6
    centre.restart()
    assert statuses(box.send(*frames)) == ["duplicate"] * 6
    assert centre.dump() == before
