"""What a box says when it takes a new key: signed by the key that it has and by the one that it will have.

The first signature shows that the box itself wants it, the second that it holds the new private key. Nothing secret
travels, and a change that somebody recorded is of no use: no key comes a second time.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError

from telemetry.messages import Identifier, Message
from telemetry.signing import PublicKey, Signer

PATH = "/api/v1/boxes/self/key"
SAID_BYTES_MAX = 1024
_CHANGE = b"brightline key change\n"


class KeyChangeError(Exception):
    """Not what a box that changes its key would send; the message says why."""


def _key(text: str) -> str:
    PublicKey.from_b64(text)
    return text


KeyText = Annotated[str, Field(max_length=64), AfterValidator(_key)]


class KeyChange(Message):
    """From ``old_key`` to ``new_key`` (Ed25519, 32 raw bytes in base64). ``epoch``: of the outbox, if there is one."""

    box_id: Identifier
    old_key: KeyText
    new_key: KeyText
    epoch: Identifier | None = None


class SignedKeyChange(Message):
    """JSON text of a `KeyChange`, and the Ed25519 signatures of both keys over it, in base64."""

    said: Annotated[str, Field(max_length=SAID_BYTES_MAX)]
    old_signature: Annotated[str, Field(max_length=100)]
    new_signature: Annotated[str, Field(max_length=100)]


def sign_change(box_id: str, old: Signer, new: Signer, epoch: str | None) -> SignedKeyChange:
    change = KeyChange(box_id=box_id, old_key=old.public_key_b64, new_key=new.public_key_b64, epoch=epoch)
    said = change.model_dump_json()
    signatures = [base64.b64encode(key.sign(_CHANGE + said.encode())).decode() for key in (old, new)]
    return SignedKeyChange(said=said, old_signature=signatures[0], new_signature=signatures[1])


def open_change(signed: SignedKeyChange) -> KeyChange:
    """The change, if both of the keys that it names signed it; raises KeyChangeError.

    Whether the old one is the box's is for the centre to know.
    """
    try:
        change = KeyChange.model_validate_json(signed.said)
    except ValidationError as error:
        raise KeyChangeError("this is no change of a box's key") from error
    for name, key, signature in (
        ("old", change.old_key, signed.old_signature),
        ("new", change.new_key, signed.new_signature),
    ):
        try:
            raw = base64.b64decode(signature, validate=True)
        except binascii.Error:
            raw = b""
        if not PublicKey.from_b64(key).verify(raw, _CHANGE + signed.said.encode()):
            raise KeyChangeError(f"the signature of the {name} key does not fit")
    return change
