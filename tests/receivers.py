"""Receivers of messages on this machine: real servers that remember what came and answer what they are told."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

WAIT_S = 30.0


@dataclass
class Request:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Inbox:
    """What came, in order; `wait` for a number of them."""

    items: list[Any] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, item: Any) -> None:
        with self.changed:
            self.items.append(item)
            self.changed.notify_all()

    def wait(self, count: int) -> list[Any]:
        """The first *count*; fails when they do not come."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.items) >= count, WAIT_S), f"{len(self.items)} of {count} came"
            return list(self.items)


class HttpReceiver:
    """Answers every POST with ``status`` and ``answer``; ``on_request`` runs before the answer."""

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.status = 200
        self.answer: Any = {}
        self.on_request: Callable[[Request], None] = lambda request: None
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                request = Request(self.path, {key.lower(): value for key, value in self.headers.items()}, body)
                receiver.inbox.put(request)
                receiver.on_request(request)
                answer = json.dumps(receiver.answer).encode()
                self.send_response(receiver.status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: Any) -> None:
                del args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _FreePort(Controller):
    """Its own check connects to the port that it was given, which is 0 here."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        with socket.create_connection(self.server.sockets[0].getsockname(), WAIT_S) as connection:
            connection.recv(1024)


class MailReceiver:
    """An SMTP server; ``refuse`` is what it answers to the text of a mail instead of taking it."""

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.refuse: str | None = None
        self._controller = _FreePort(self, hostname="127.0.0.1", port=0)
        self._controller.start()
        assert self._controller.server is not None
        self.port = int(self._controller.server.sockets[0].getsockname()[1])

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        del server, session
        if self.refuse:
            return self.refuse
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.inbox.put(mail)
        return "250 taken"

    def close(self) -> None:
        self._controller.stop()


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def padless(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Browser:
    """A browser's subscription: its own reading of RFC 8291 and RFC 8292, by nothing but the primitives."""

    def __init__(self, endpoint: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._public = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self._auth = bytes(range(16))
        self.endpoint = endpoint
        keys = {"p256dh": padless(self._public), "auth": padless(self._auth)}
        self.subscription = json.dumps({"endpoint": endpoint, "expirationTime": None, "keys": keys})

    def decrypt(self, body: bytes) -> Any:
        """The JSON inside one aes128gcm record (RFC 8188, 2; RFC 8291, 3.3 and 3.4)."""
        salt, length = body[:16], body[20]
        sender = body[21 : 21 + length]
        shared = self._key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
        info = b"WebPush: info\0" + self._public + sender
        secret = HKDF(hashes.SHA256(), 32, self._auth, info).derive(shared)
        key = HKDF(hashes.SHA256(), 16, salt, b"Content-Encoding: aes128gcm\0").derive(secret)
        nonce = HKDF(hashes.SHA256(), 12, salt, b"Content-Encoding: nonce\0").derive(secret)
        plain = AESGCM(key).decrypt(nonce, body[21 + length :], None)
        return json.loads(plain.rstrip(b"\0").removesuffix(b"\2"))

    @staticmethod
    def claims(authorization: str, public_key: str) -> Any:
        """The claims of a ``vapid`` header that this key signed; raises InvalidSignature."""
        scheme, _, rest = authorization.partition(" ")
        parts = dict(item.strip().split("=", 1) for item in rest.split(","))
        assert (scheme, parts["k"]) == ("vapid", public_key)
        signed, _, raw = parts["t"].rpartition(".")
        mac = unpadded(raw)
        signature = encode_dss_signature(int.from_bytes(mac[:32]), int.from_bytes(mac[32:]))
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), unpadded(public_key))
        key.verify(signature, signed.encode(), ec.ECDSA(hashes.SHA256()))
        return json.loads(unpadded(signed.split(".")[1]))
