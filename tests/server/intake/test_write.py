"""InfluxDB's door in this process: who may write, what is stored whole or not at all, and in which shape it refuses."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from server import write_api
from server.accounts import ensure_site
from server.audit import CONSOLE
from server.database import make_engine
from server.instance_key import InstanceKey
from server.intake.gateway import payload_of, store_values
from server.intake.lines import read_lines
from server.models import Box, StoredBatch
from server.models_audit import AuditEntry
from server.series.port import Point, SeriesKey
from server.series.settings import RecordSeries
from server.series.stores import open_store
from server.series.upkeep import rebuild
from tests.server.tenancy.district import District, Somebody, settled

AT_MS = 1_767_323_045_000
LINES = f"temperature,sensor_id=cold-1 value=-18.5 {AT_MS}\nfridge,sensor_id=cold-2 temperature=4,humidity=60i {AT_MS}"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, jpeg: Callable[..., bytes]) -> Iterator[District]:
    with settled(tmp_path_factory.mktemp("door") / "data", jpeg, places=()) as made:
        yield made


@pytest.fixture(scope="module")
def administrator(door: District) -> Somebody:
    return door.somebody("administrator", "")


def site_id(door: District, name: str) -> int:
    with door.database() as db:
        return ensure_site(db, name).id


def token(door: District, who: Somebody, site: str, *permissions: str) -> str:
    body = {"name": "gateway", "permissions": permissions or ["readings.write"], "site_id": site_id(door, site)}
    return str(door.ask(who, "POST", "/api/v1/tokens", json=body).json()["token"])


def write(door: District, secret: str, body: bytes | str, precision: str = "ms", **headers: str) -> httpx.Response:
    params = {"precision": precision, "org": "any", "bucket": "any"}
    headers = {"authorization": f"Token {secret}", **headers}
    return door.client_.post("/api/v2/write", params=params, content=body, headers=headers)


def refused(answer: httpx.Response) -> tuple[int, str, str]:
    assert set(answer.json()) == {"code", "message"}
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, answer.json()["code"], answer.json()["message"]


def points(door: District, box_id: str, sensor_id: str, quantity: str) -> list[Point]:
    engine = make_engine(door.settings)
    with closing(open_store(RecordSeries(), engine)) as series:
        found = list(series.range(SeriesKey(box_id, sensor_id, quantity), 0, 2**52))
    engine.dispose()
    return found


def gateway(door: District, site: str) -> str:
    with door.database() as db:
        return db.scalars(select(Box.id).where(Box.site_id == ensure_site(db, site).id)).one()


def test_what_a_gateway_writes_is_journalled_verified_and_rebuilt(door: District, administrator: Somebody) -> None:
    secret = token(door, administrator, "W")
    assert write(door, secret, LINES).status_code == 204
    assert write(door, secret, gzip.compress(LINES.encode()), **{"content-encoding": "gzip"}).status_code == 204
    box_id = gateway(door, "W")
    expected = [Point(box_id, "cold-1", "temperature", AT_MS, -18.5, "good")]
    assert points(door, box_id, "cold-1", "temperature") == expected
    with door.database() as db:
        assert db.scalars(select(StoredBatch.seq).where(StoredBatch.box_id == box_id)).all() == [1, 2]
        entry = db.scalars(select(AuditEntry).where(AuditEntry.action == "gateway.add")).one()
        assert (entry.object_id, entry.actor_name) == (box_id, f"{administrator.name} (gateway)")
    found = door.verified()
    gaps = [gap for gap in found.gaps if not gap.startswith("log: ")]  # no worker makes leaves here
    assert (found.problems, gaps, found.points, found.readings) == ([], [], 3, 6)
    engine = make_engine(door.settings)
    with closing(open_store(RecordSeries(), engine)) as series:
        series.clear()
        rebuild(engine, RecordSeries(), series)
    engine.dispose()
    assert points(door, box_id, "cold-1", "temperature") == expected
    assert door.verified().problems == []


def test_a_changed_batch_of_a_gateway_is_found(door: District, administrator: Somebody) -> None:
    write(door, token(door, administrator, "C"), LINES)
    with door.database() as db:
        row = db.scalars(select(StoredBatch).where(StoredBatch.box_id == gateway(door, "C"))).one()
        raw, row.raw = row.raw, row.raw[:-70] + b"\x00" + row.raw[-69:]
    assert any("signature" in problem for problem in door.verified().problems)
    with door.database() as db:
        db.scalars(select(StoredBatch).where(StoredBatch.box_id == row.box_id)).one().raw = raw
    assert door.verified().problems == []


def test_a_request_with_a_bad_line_is_refused_whole_and_the_line_is_named(
    door: District, administrator: Somebody
) -> None:
    status, code, message = refused(
        write(door, token(door, administrator, "X"), f'{LINES}\nm text="open"\nm value=1 x')
    )
    assert (status, code) == (400, "invalid")
    assert "nothing was stored: line 3: a text field" in message
    assert "line 4: 'x' is no timestamp" in message
    with door.database() as db:
        assert db.scalars(select(Box).where(Box.site_id == ensure_site(db, "X").id)).all() == []


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff", {}, 400),
        (b"no gzip", {"content-encoding": "gzip"}, 400),
        (gzip.compress(b"m value=1")[:-3], {"content-encoding": "gzip"}, 400),
        (b"m value=1", {"content-encoding": "br"}, 400),
        (b"#" * (write_api.BODY_BYTES_MAX + 1), {}, 413),
        (gzip.compress(b"#" * (write_api.TEXT_BYTES_MAX + 1)), {"content-encoding": "gzip"}, 413),
        (b"m " + b",".join(b"f%d=1" % number for number in range(50_001)), {}, 413),
    ],
    ids=["utf8", "gzip", "cut", "brotli", "large", "bomb", "many"],
)
def test_what_cannot_be_taken_is_refused_in_influxdbs_shape(
    door: District, administrator: Somebody, body: bytes, headers: dict[str, Any], status: int
) -> None:
    answer = refused(write(door, token(door, administrator, "X"), body, **headers))
    assert answer[:2] == (status, "invalid" if status == 400 else "request too large")


def test_only_a_token_of_a_site_with_the_permission_writes(door: District, administrator: Somebody) -> None:
    unbound = {"name": "x", "permissions": ["readings.write"]}
    assert door.ask(administrator, "POST", "/api/v1/tokens", json=unbound).json()["code"] == "token_site"
    other = token(door, administrator, "X", "alert.read")
    assert refused(write(door, "blt_wrong", LINES))[:2] == (401, "unauthorized")
    assert refused(write(door, other, LINES))[:2] == (403, "forbidden")
    by_cookie = door.ask(administrator, "POST", "/api/v2/write", content=LINES)
    assert refused(by_cookie)[:2] == (403, "forbidden")
    assert refused(write(door, token(door, administrator, "X"), LINES, precision="h"))[:2] == (422, "invalid")


def test_an_empty_request_is_well_and_stores_nothing(door: District, administrator: Somebody) -> None:
    assert write(door, token(door, administrator, "E"), "# only words\n\n").status_code == 204
    with door.database() as db:
        assert db.scalars(select(Box).where(Box.site_id == ensure_site(db, "E").id)).all() == []


def test_a_record_with_another_key_goes_on_as_another_gateway(door: District, administrator: Somebody) -> None:
    secret = token(door, administrator, "K")
    write(door, secret, LINES)
    values = read_lines(LINES, "ms", datetime.now(UTC))
    with door.database() as db:
        key = InstanceKey(b"k" * 32)
        place = ensure_site(db, "K").id
        store_values(db, key.signer, place, values, payload_of(values), CONSOLE, series_here=True)
        assert len(db.scalars(select(Box).where(Box.site_id == place)).all()) == 2
    assert door.verified().problems == []
