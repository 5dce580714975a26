"""The doors through which boxes reach the centre, in one process with a real record: whatever is sent, signed or not,
is answered with receipts or a problem, never with a fault, and the record goes on taking true batches.
"""

from __future__ import annotations

import asyncio
import json
import struct
import time
import tracemalloc
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from server.accounts import ensure_site, make_enrolment_code
from server.app import create_app
from server.database import writing
from server.settings import Settings
from telemetry.batch import FIRST_PREVIOUS, PAYLOAD_BYTES_MAX, BatchHeader, seal_batch, sha256_hex
from telemetry.messages import Reading
from telemetry.signing import Signer

QUICK = settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
LONG = settings(QUICK, max_examples=1_000)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ANSWER_S_MAX = 10.0
TEXT = st.text(max_size=12) | st.sampled_from(["", "\x00", "\ud800", "é" * 70, "cold-1", "../x", "9" * 400])
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))


@dataclass
class Door:
    """The centre and one box that it knows."""

    runner: asyncio.Runner
    client: httpx.AsyncClient
    signer: Signer
    box_id: str
    code: str

    def send(self, method: str, path: str, content: bytes, **headers: str) -> httpx.Response:
        """The answer; a fault in the application is raised here."""
        return self.runner.run(self.client.request(method, path, content=content, headers=headers))

    def batch(self, raw: bytes) -> httpx.Response:
        return self.send("POST", "/api/v1/batches", raw, **{"brightline-ask-missing": "1"})


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    app = create_app(Settings(data_dir=tmp_path_factory.mktemp("centre")))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="https://centre.example")
    life = app.router.lifespan_context(app)
    with asyncio.Runner() as runner:
        runner.run(life.__aenter__())
        with Session(writing(app.state.brightline.engine)) as db, db.begin():
            first, second = (make_enrolment_code(db, ensure_site(db, "Canteen A")) for _ in range(2))
        found = Door(runner, client, Signer.generate(), "", second)
        answer = enrol(found, {"code": first, "public_key": found.signer.public_key_b64, "name": "box"})
        assert answer.status_code == 201, answer.text
        found.box_id = answer.json()["box_id"]
        yield found
        runner.run(client.aclose())
        runner.run(life.__aexit__(None, None, None))


def enrol(door: Door, body: object) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return door.send("POST", "/api/v1/enrol", content, **{"content-type": "application/json"})


def expect_answer(answer: httpx.Response, started_s: float) -> None:
    """Receipts, or a problem that says what is wrong; in time."""
    assert answer.status_code in (200, 201, 400, 401, 403, 404, 409, 413, 422), answer.text
    assert isinstance(answer.json(), dict)
    assert time.process_time() - started_s < ANSWER_S_MAX


def header_of(door: Door, **changes: Any) -> dict[str, Any]:
    head = {
        "box_id": door.box_id, "epoch": uuid.uuid4().hex, "lane": "readings", "seq": 1,
        "previous_sha256": FIRST_PREVIOUS, "created_at": AT.isoformat(), "count": 1, "boot_id": "boot",
    }  # fmt: skip
    return head | changes


def sealed(door: Door, head: Any, payload: bytes, *, packed: bool = True) -> bytes:
    """A frame with a signature that holds, whatever stands in it."""
    text = json.dumps(head).encode()[:4096]
    body = zstandard.compress(payload) if packed else payload
    raw = b"BLB1" + struct.pack(">II", len(text), len(body)) + text + body
    return raw + door.signer.sign(raw)


READING = {
    "sensor_id": "cold-1", "quantity": "temperature", "value": 3.5, "unit": "°C", "observed_at": AT.isoformat(),
}  # fmt: skip
EVENT = {
    "event_id": "e", "incident_id": "i", "type": "excursion_opened", "severity": "critical", "source_id": "cold-1",
    "at": AT.isoformat(), "data": {"kind": "temperature_excursion"},
}  # fmt: skip
TYPES = [
    "excursion_updated",
    "excursion_closed",
    "violation_opened",
    "coverage",
    "box_status",
    "clock_corrected",
    "data_gap",
]


@st.composite
def records(draw: st.DrawFn) -> tuple[str, list[Any]]:
    """A lane and records that are true but for a key or two."""
    lane = draw(st.sampled_from(["readings", "events"]))
    true = READING if lane == "readings" else EVENT | {"event_id": uuid.uuid4().hex, "incident_id": uuid.uuid4().hex}
    made: list[Any] = []
    for _ in range(draw(st.integers(1, 3))):
        record: Any = dict(true)
        if lane == "events":
            record["type"] = draw(st.sampled_from([record["type"], *TYPES]))
        for key in draw(st.lists(st.sampled_from(sorted(true)), max_size=2)):
            record[key] = draw(JSON)
        if lane == "events" and draw(st.booleans()):
            record["data"] = draw(
                st.dictionaries(st.sampled_from(["kind", "rows", "boot_id", "offset_s", "x"]) | TEXT, JSON)
            )
        made.append(draw(st.just(record) | JSON) if draw(st.booleans()) else record)
    return lane, made


def send_signed(door: Door, data: st.DataObject) -> None:
    lane, made = data.draw(records())
    changes = data.draw(
        st.dictionaries(st.sampled_from(["epoch", "seq", "count", "previous_sha256", "created_at"]), JSON, max_size=1)
    )
    head = header_of(door, lane=lane, count=len(made)) | changes
    started_s = time.process_time()
    expect_answer(door.batch(sealed(door, head, json.dumps(made).encode())), started_s)


def send_strange(door: Door, data: st.DataObject) -> None:
    raw = data.draw(st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: b"BLB1" + tail))
    framed = sealed(
        door,
        data.draw(st.just(header_of(door)) | JSON),
        data.draw(st.binary(max_size=200)),
        packed=data.draw(st.booleans()),
    )
    place, byte = data.draw(st.integers(0, len(framed) - 1)), data.draw(st.integers(0, 255))
    for body in (raw, framed, framed[:place] + bytes([byte]) + framed[place + 1 :], framed[:place], framed + raw):
        started_s = time.process_time()
        expect_answer(door.batch(body), started_s)


def send_evidence(door: Door, data: st.DataObject) -> None:
    blob = data.draw(st.binary(min_size=1, max_size=50))
    manifest = {
        "evidence_id": uuid.uuid4().hex, "sha256": sha256_hex(blob), "size_bytes": len(blob),
        "media_type": "image/jpeg", "role": "snapshot", "incident_id": "i", "box_id": door.box_id, "camera_id": "c",
        "place": "", "kind": "no_mask",
        "taken_at": AT.isoformat(), "model_sha256": "0" * 64, "config_sha256": "0" * 64,
    }  # fmt: skip
    changes = data.draw(st.dictionaries(st.sampled_from(sorted(manifest.keys() - {"box_id"})), JSON, max_size=2))
    text = json.dumps(manifest | changes).encode()
    signed = b"BLE1" + struct.pack(">II", len(text), len(blob)) + text
    name = data.draw(st.just(sha256_hex(blob)) | st.text("0123456789abcdef./%", min_size=1, max_size=70))
    for body in (signed + door.signer.sign(signed) + blob, data.draw(st.binary(max_size=100))):
        started_s = time.process_time()
        answer = door.send("PUT", f"/api/v1/evidence/{quote(name, safe='')}", body)
        # 307: a slash at the end of the address
        assert answer.status_code in (200, 201, 307, 400, 401, 404, 405, 409, 413, 422), answer.text
        assert time.process_time() - started_s < ANSWER_S_MAX


def send_enrolment(door: Door, data: st.DataObject) -> None:
    body = {"code": data.draw(TEXT | st.just(door.code)), "public_key": data.draw(TEXT), "name": data.draw(TEXT)}
    for content in (body, data.draw(st.binary(max_size=100) | JSON)):
        started_s = time.process_time()
        expect_answer(enrol(door, content), started_s)


SENDERS = {"signed": send_signed, "strange": send_strange, "evidence": send_evidence, "enrolment": send_enrolment}


@pytest.mark.parametrize("name", SENDERS)
@QUICK
@given(data=st.data())
def test_whatever_is_sent_is_answered(door: Door, name: str, data: st.DataObject) -> None:
    SENDERS[name](door, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", SENDERS)
@LONG
@given(data=st.data())
def test_whatever_is_sent_is_answered_for_long(door: Door, name: str, data: st.DataObject) -> None:
    SENDERS[name](door, data)


def test_a_frame_that_unpacks_to_far_too_much_is_refused_in_bounded_memory(door: Door) -> None:
    bomb = zstandard.compress(b"[" + b" " * (4 * PAYLOAD_BYTES_MAX))
    frame = sealed(door, header_of(door), bomb, packed=False)
    started_s = time.process_time()
    tracemalloc.start()
    try:
        answer = door.batch(frame)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    expect_answer(answer, started_s)
    assert answer.status_code in (400, 413)
    assert peak_bytes < 2.5 * PAYLOAD_BYTES_MAX


def test_after_all_that_a_true_batch_is_taken(door: Door) -> None:
    record = Reading.model_validate(READING)
    head = BatchHeader.model_validate(header_of(door))
    answer = door.batch(seal_batch(head, [record], door.signer))
    assert answer.status_code == 200, answer.text
    assert [item["status"] for item in answer.json()["receipts"]] == ["accepted"]
