"""Web push (RFC 8030): a message is encrypted for one browser (RFC 8291) and signed as coming from here (RFC 8292)."""

from __future__ import annotations

import base64
import binascii
import json
import time
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.key_files import make_once
from server.notification.egress import Egress, check_url
from server.notification.port import Message, Recipient, Undelivered

KEY_FILE = "web-push.pem"
DEFAULT_CONTACT = "mailto:centre@localhost"  # some services refuse it: set `contact`
LIFE_S = 86_400
ENDED = (404, 410)  # RFC 8030, 7.3: the browser's owner took the permission back
PAYLOAD_BYTES_MAX = 3000  # with padding and header it stays below the 4,096 bytes that every service takes
TOKEN_LIFE_S = 12 * 3600  # RFC 8292, 2: at most 24 h
Key = Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9_-]+={0,2}$")]


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    p256dh: Key
    auth: Key


class Subscription(BaseModel):
    """What the browser's PushSubscription.toJSON() gives."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    endpoint: Annotated[str, Field(max_length=1000)]
    keys: _Keys


def ensure_key(data_dir: Path) -> Path:
    """The file with the instance's own key (P-256, PEM), made once and readable by its owner only."""
    path = data_dir / KEY_FILE
    make_once(path, _new_key)
    return path


def _new_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def unpadded(text: str) -> bytes:
    """Base64url with or without padding; raises ValueError."""
    try:
        return base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    except binascii.Error as error:
        raise ValueError("is not base64url") from error


class WebPushNotifier:
    """Sends to browsers. ``contact`` (mailto: or https:) tells push services whom to ask when something is wrong."""

    kinds = frozenset({"push"})

    def __init__(self, key_file: Path, egress: Egress, contact: str | None = None) -> None:
        from py_vapid import Vapid02

        self._vapid = Vapid02.from_file(str(key_file))
        self._egress = egress
        self._contact = contact or DEFAULT_CONTACT
        raw = self._vapid.public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.public_key = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    def check(self, given: str, kind: str) -> tuple[str, str]:
        try:
            subscription = Subscription.model_validate_json(given)
            parts = check_url(subscription.endpoint, self._egress.trusted_hosts)
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), unpadded(subscription.keys.p256dh))
            if len(unpadded(subscription.keys.auth)) != 16:
                raise ValueError
        except (ValidationError, ValueError):
            raise ValueError("must be the subscription of a browser") from None
        return subscription.model_dump_json(), f"{parts.hostname} …{subscription.endpoint[-4:]}"

    def send(self, message: Message, recipient: Recipient) -> None:
        try:
            subscription = Subscription.model_validate_json(recipient.address)
            content = self._sealed(message, subscription)
        except (ValidationError, ValueError):
            raise Undelivered("bad_address", final=True) from None
        headers = {
            **self._authorization(subscription.endpoint),
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "ttl": str(LIFE_S),
            "urgency": "high" if message.urgent else "normal",
            "topic": message.thread[:32],  # a newer message on the same fault replaces one that still waits
        }
        self._egress.post(subscription.endpoint, content, headers, gone=ENDED)

    def _authorization(self, endpoint: str) -> dict[str, str]:
        parts = urlsplit(endpoint)
        claims = {
            "aud": f"{parts.scheme}://{parts.netloc}",
            "exp": int(time.time()) + TOKEN_LIFE_S,
            "sub": self._contact,
        }
        signed: dict[str, str] = self._vapid.sign(claims)
        return signed

    def _sealed(self, message: Message, subscription: Subscription) -> bytes:
        from http_ece import encrypt

        told = {"id": message.idempotency_key, "tag": message.thread, "title": message.subject, "url": message.link}
        body = message.body
        while len(payload := json.dumps({**told, "body": body}, ensure_ascii=False).encode()) > PAYLOAD_BYTES_MAX:
            body = body[: len(body) * 3 // 4]
        sealed: bytes = encrypt(
            payload,
            private_key=ec.generate_private_key(ec.SECP256R1()),
            dh=unpadded(subscription.keys.p256dh),
            auth_secret=unpadded(subscription.keys.auth),
            version="aes128gcm",
        )
        return sealed
