"""A centre of a few lines behind real TLS: opens every frame, checks its signature and answers as told."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from telemetry.batch import open_batch, split_batches
from telemetry.messages import Receipt
from telemetry.uplink import ASK_MISSING, HISTORICAL
from tests.telemetry.outbox_parts import SIGNER


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
        self.slow_s = 0.0  # a request with readings takes so long
        self.retry_after = ""  # goes with 503
        self.missing: list[dict[str, object]] = []  # told once to who asks
        self.refuses_signature = False
        self.arrived: list[tuple[float, str, int, int, bool]] = []  # when, lane, seq, bytes of the request, historical

    def take(self, body: bytes, *, historical: bool = False, asks: bool = False) -> tuple[int, dict[str, object]]:
        self.requests += 1
        headers = [open_batch(raw, lambda _: SIGNER.public_key).header for raw in split_batches(body)]
        now_s = time.monotonic()
        self.arrived += [(now_s, item.lane, item.seq, len(body), historical) for item in headers]
        if headers[0].lane == "readings":
            time.sleep(self.slow_s)  # the work of a slow centre, not a synchronisation
        if self.refuses_signature:
            return 400, {"code": "signature"}
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
        missing, self.missing = (self.missing, []) if asks else ([], self.missing)
        return 200, {"receipts": receipts, "missing": missing}


@contextmanager
def serving(centre: Centre, certificate: Path) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            historical, asks = HISTORICAL in self.headers, ASK_MISSING in self.headers
            body = self.rfile.read(int(self.headers["content-length"]))
            if len(body) < int(self.headers["content-length"]):
                return
            status, answer = centre.take(body, historical=historical, asks=asks)
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
            if status == 503 and centre.retry_after:
                self.send_header("retry-after", centre.retry_after)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def finish_request(self, request: Any, client_address: Any) -> None:
            request.settimeout(10)
            try:
                request = context.wrap_socket(request, server_side=True)
            except OSError:
                return  # a peer that does not trust this certificate
            with request:
                self.RequestHandlerClass(request, client_address, self)

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A peer that goes away is part of the tests."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
