"""The log of a running centre: leaves by themselves, heads every hour to file and webhook, proofs for everybody."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from sqlalchemy import select

from server.app import create_app
from server.database import make_engine
from server.merkle.checkpoint import LogKey, open_checkpoint
from server.merkle.settings import LogSettings
from server.merkle.tree import check_consistency, check_inclusion, leaf_hash
from server.merkle.verification import read_heads_file
from server.merkle.worker import LogWorker
from server.models import Evidence
from server.notification.egress import Egress
from server.settings import Settings
from telemetry.batch import sha256_hex
from telemetry.signing import KeyFileError
from tests.server.merkle.small_record import SmallRecord, readings
from tests.server.tenancy.district import InProcess
from tests.waiting import wait_for

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


@contextmanager
def witness(answers: list[int]) -> Iterator[tuple[str, list[str]]]:
    """A receiver that answers with these statuses, then 200; what it took."""
    taken: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            status = answers.pop(0) if answers else 200
            if status == 200:
                taken.append(body)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on the console."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", taken
    server.shutdown()
    thread.join()
    server.server_close()


def test_heads_are_published_every_hour_and_held_elsewhere(record: SmallRecord) -> None:
    now = [NOW]
    engine = make_engine(record.settings)
    with witness([500]) as (host, taken):
        egress = Egress([host])
        settings = LogSettings(heads_url=f"http://{host}/heads")
        worker = LogWorker(engine, settings, record.data, record.signer, egress, lambda: now[0])
        assert worker.step() == 0  # the first try is refused; nothing new to publish
        assert taken == []
        now[0] += timedelta(seconds=61)
        worker.step()
        assert taken == read_heads_file(record.data / "log-heads.jsonl")
        with record.changing() as db:
            record.send(db, "readings", readings(1, 100.0))
        assert worker.step() == 1
        assert len(taken) == 3
        with record.changing() as db:
            record.send(db, "readings", readings(1, 101.0))
        worker.step()
        assert len(taken) == 3  # not within the hour
        now[0] += timedelta(hours=1)
        worker.step()
        assert taken == read_heads_file(record.data / "log-heads.jsonl")
    engine.dispose()
    heads = [open_checkpoint(note, [LogKey.of(record.signer.public_key)]) for note in taken]
    assert [head.size for head in heads][-2:] == [heads[1].size + 1, heads[1].size + 2]
    assert record.verify().problems == []


def test_a_heads_file_with_a_torn_line_goes_on(record: SmallRecord) -> None:
    path = record.data / "log-heads.jsonl"
    before = read_heads_file(path)
    path.write_bytes(path.read_bytes()[:-20])
    with record.changing() as db:
        record.send(db, "readings", readings(1, 100.0))
    record.grow(NOW)
    assert read_heads_file(path)[:2] == before
    assert len(read_heads_file(path)) == 3


@contextmanager
def served(data: Path) -> Iterator[InProcess]:
    app = create_app(Settings(data_dir=data, secure_cookies=False))
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(app.router.lifespan_context(app)):
        centre = InProcess(app, portal)
        yield centre
        portal.call(centre.client.aclose)


def test_anybody_gets_heads_and_proofs_and_can_check_them(record: SmallRecord, jpeg: Callable[..., bytes]) -> None:
    keys = [LogKey.of(record.signer.public_key)]
    with served(record.data) as centre:
        told = centre.request("GET", "/api/v1/log/head").json()
        head = open_checkpoint(told["checkpoint"], keys)
        assert (told["size"], told["root"], told["keys"]) == (head.size, head.root.hex(), [keys[0].text])
        for kind, digest in (("evidence", sha256_hex(jpeg(1))), ("batch", record.last["readings"][1])):
            answer = centre.request("GET", f"/api/v1/log/proof/{kind}/{digest}")
            assert answer.status_code == 200, answer.text
            proof = answer.json()
            assert digest in proof["leaf"]
            data = answer.text.partition('"leaf":')[2].partition(',"path"')[0].encode()
            path = [bytes.fromhex(item) for item in proof["path"]]
            check_inclusion(leaf_hash(data), proof["position"], proof["size"], path, head.root)
        first = open_checkpoint(read_heads_file(record.data / "log-heads.jsonl")[0], keys)
        said = centre.request("GET", "/api/v1/log/consistency", params={"first": first.size, "second": head.size})
        path = [bytes.fromhex(item) for item in said.json()["path"]]
        check_consistency(first.size, first.root, head.size, head.root, path)
        page = centre.request("GET", "/log", headers={"accept-language": "en"})
        assert page.status_code == 200
        assert head.root.hex() in page.text
        assert keys[0].text in page.text


def test_picture_that_is_on_record_twice_is_proved_by_what_was_signed_of_it(
    record: SmallRecord, jpeg: Callable[..., bytes]
) -> None:
    with record.changing() as db:
        for incident_id in ("inc-2", "inc-3"):
            record.raise_alert(db, incident_id)
            digest = record.send_picture(db, jpeg(3), incident_id)
        rows = {row.key: row.incident_id for row in db.scalars(select(Evidence).where(Evidence.sha256 == digest))}
    record.grow()
    assert record.verify().problems == []
    with served(record.data) as centre:
        answer = centre.request("GET", f"/api/v1/log/proof/evidence/{digest}")
        assert (answer.status_code, answer.json()["code"]) == (409, "several")
        for key, incident_id in rows.items():
            assert centre.request("GET", f"/api/v1/log/proof/evidence/{key}").json()["leaf"][3] == incident_id
    assert len(rows) == 2


def test_what_cannot_be_proved_is_said(record: SmallRecord) -> None:
    with record.changing() as db:
        digest = record.send(db, "readings", readings(1, 100.0))
    with served(record.data) as centre:
        for path, status, code in (
            (f"/api/v1/log/proof/batch/{'0' * 64}", 404, "unknown"),
            (f"/api/v1/log/proof/report/{'0' * 64}", 404, "unknown"),
            (f"/api/v1/log/proof/evidence/{'0' * 64}", 404, "unknown"),
            ("/api/v1/log/proof/batch/x", 422, None),
            ("/api/v1/log/consistency?first=2&second=1", 404, "unknown"),
            ("/api/v1/log/consistency?first=1&second=99999", 404, "unknown"),
            ("/api/v1/log/consistency?first=0&second=1", 422, None),
        ):
            answer = centre.request("GET", path)
            assert answer.status_code == status, path
            assert code is None or answer.json()["code"] == code

        def proved() -> bool:
            return centre.request("GET", f"/api/v1/log/proof/batch/{digest}").status_code == 200

        wait_for("the batch is a leaf under a published head", proved)  # the last head is hours old


def test_a_centre_without_any_leaf_says_so(data: Path) -> None:
    with served(data) as centre:
        assert centre.request("GET", "/api/v1/log/head").json()["code"] == "not_published"
        assert "Nothing has been published yet" in centre.request("GET", "/log", headers={"accept-language": "en"}).text
    assert (data / "centre.key").stat().st_mode & 0o777 == 0o600


def test_others_may_not_read_the_key(record: SmallRecord) -> None:
    (record.data / "centre.key").chmod(0o644)
    with pytest.raises(KeyFileError, match="others may read"):
        _ = record.signer
