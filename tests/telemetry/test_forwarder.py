"""The forwarder against a real TLS server with a private CA: order, retries, refusals, lost answers."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from telemetry.batch import open_batch, split_batches
from telemetry.forwarder import Forwarder
from telemetry.messages import Event, Reading, Receipt
from telemetry.outbox import Outbox
from telemetry.server_url import check_server_url
from telemetry.signing import Signer
from telemetry.spool import EvidenceSpool
from telemetry.uplink import HttpsUplink, UplinkUnavailable

AT = datetime(2026, 1, 2, tzinfo=UTC)
SIGNER = Signer.generate()


def write_certificate(folder: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "centre")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "centre.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


class Centre:
    """A centre of a few lines: opens every frame and answers as told."""

    def __init__(self) -> None:
        self.stored: list[tuple[str, int]] = []
        self.evidence: list[str] = []
        self.requests = 0
        self.down = 0  # so many requests are answered 503
        self.poison: tuple[str, int] | None = None  # a request that holds it is answered 400
        self.silent = 0  # so many requests are taken, but the answer is lost

    def take(self, body: bytes) -> tuple[int, dict[str, object]]:
        self.requests += 1
        headers = [open_batch(raw, lambda _: SIGNER.public_key).header for raw in split_batches(body)]
        if self.down:
            self.down -= 1
            return 503, {}
        if self.poison in [(header.lane, header.seq) for header in headers]:
            return 400, {"detail": "poison"}
        receipts = []
        for header in headers:
            known = (header.lane, header.seq) in self.stored
            if not known:
                self.stored.append((header.lane, header.seq))
            status = "duplicate" if known else "accepted"
            identity = header.model_dump(include={"box_id", "epoch", "lane", "seq"})
            receipts.append(Receipt.model_validate({**identity, "status": status}).model_dump())
        return 200, {"receipts": receipts}


@contextmanager
def serving(centre: Centre, certificate: Path) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, answer = centre.take(self.rfile.read(int(self.headers["content-length"])))
            if centre.silent:
                centre.silent -= 1
                self.close_connection = True
                return
            self.answer(status, answer)

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            centre.evidence.append(self.path)
            self.answer(201, {})

        def answer(self, status: int, answer: dict[str, object]) -> None:
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def filled(folder: Path, readings: int = 3) -> Outbox:
    outbox = Outbox.open(folder / "outbox.sqlite", "box-1", SIGNER, boot_id="b", batch_records=1)
    for number in range(readings):
        outbox.commit([Reading(sensor_id="s", quantity="t", value=number, unit="°C", observed_at=AT)], [])
    outbox.commit(
        [],
        [Event(event_id="e", incident_id="i", type="box_status", severity="info", source_id="box-1", at=AT)],
    )
    return outbox


def forward_until(forwarder: Forwarder, done: Callable[[], bool]) -> None:
    async def run() -> None:
        task = asyncio.create_task(forwarder.run())
        async with asyncio.timeout(20):
            while not done():
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


@pytest.mark.parametrize("trouble", ["none", "down", "silent"])
def test_everything_arrives_once_and_events_overtake_readings(tmp_path: Path, trouble: str) -> None:
    centre = Centre()
    if trouble != "none":
        setattr(centre, trouble, 2)
    certificate = write_certificate(tmp_path)
    spool = EvidenceSpool(tmp_path / "spool")
    spool.put(b"sealed", "a" * 64)
    with filled(tmp_path) as outbox, serving(centre, certificate) as url:
        forwarder = Forwarder(outbox, spool, url, ca_file=certificate, backoff_s_max=0.2)
        forward_until(forwarder, lambda: outbox.status().lanes["readings"].pending_batches == 0)
        assert centre.stored == [("events", 1), ("readings", 1), ("readings", 2), ("readings", 3)]
        assert centre.evidence == [f"/api/v1/evidence/{'a' * 64}"]
        assert outbox.status().lanes["readings"].delivered == 3
        assert spool.waiting() == []


def test_a_poison_batch_is_found_by_bisection_and_only_it_is_set_aside(tmp_path: Path) -> None:
    centre = Centre()
    centre.poison = ("readings", 5)
    certificate = write_certificate(tmp_path)
    with filled(tmp_path, readings=8) as outbox, serving(centre, certificate) as url:
        forwarder = Forwarder(outbox, EvidenceSpool(tmp_path / "spool"), url, ca_file=certificate)
        forward_until(forwarder, lambda: outbox.status().lanes["readings"].pending_batches == 0)
        lane = outbox.status().lanes["readings"]
        assert (lane.delivered, lane.rejected) == (7, 1)
        assert ("readings", 5) not in centre.stored


def test_an_untrusted_certificate_gets_nothing(tmp_path: Path) -> None:
    centre = Centre()
    with filled(tmp_path) as outbox, serving(centre, write_certificate(tmp_path)) as url:

        async def send() -> None:
            async with HttpsUplink(url) as uplink:
                await uplink.send(outbox.pending("readings", records_max=10, bytes_max=10**6))

        with pytest.raises(UplinkUnavailable, match=r"(?i)certificate"):
            asyncio.run(send())
        assert centre.requests == 0


@pytest.mark.parametrize("url", ["http://centre.example", "ftp://x", "https://user:pw@centre.example", "centre"])
def test_an_address_that_would_leak_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"must"):
        check_server_url(url)


def test_plain_http_is_allowed_to_this_machine() -> None:
    assert check_server_url("http://127.0.0.1:8000/") == "http://127.0.0.1:8000"
