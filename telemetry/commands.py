"""What a centre may ask of a box, over the connection that the box itself opens.

A box asks with a call that it signs; its ``number`` grows from call to call. The answer holds that number and is signed
by the centre's key, which the box was given at its enrolment: it can neither be forged by whoever stands in between nor
be kept back and used for a later call. A command counts once, by its id, however often it is answered.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from telemetry.messages import Identifier, Message, Name, Scalar, UtcTime
from telemetry.signing import PublicKey, Signer

AskedKind = Literal["snapshot", "clip", "recheck", "restart", "hold", "release"]  # what people may ask for
CommandKind = Literal[AskedKind, "apply"]
Verdict = Literal["violating", "compliant", "unknown"]
KIND = "command"  # of the box_status event that tells the result
WAIT_S_MAX = 30
ANSWER_BYTES_MAX = 64 * 1024
COMMANDS_MAX = 20
KNOWN_MAX = 100
_CALL, _ANSWER = b"brightline box call\n", b"brightline centre answer\n"
_FETCH = b"brightline box fetch\n"


class CommandError(Exception):
    """A call or an answer that is not what it should be; the message says why."""


class Command(Message):
    """One thing to do. ``arguments`` of ``snapshot``: camera; ``clip``: camera, at (ISO 8601), before_s, after_s;
    ``recheck``: camera, kind, zone; ``hold`` and ``release``: incident, why; ``apply``: release and
    sha256 (empty: the box's own file alone), for a model (empty: the box's own) also slot, mode and model_sha256.
    """

    command_id: Identifier
    kind: CommandKind
    arguments: Annotated[dict[Name, Scalar], Field(max_length=8)] = {}
    expires_at: UtcTime


class Call(Message):
    """A box asks for its commands, but for those that it knows already, and waits up to ``wait_s`` for one."""

    box_id: Identifier
    number: Annotated[int, Field(ge=1, le=2**53)]
    wait_s: Annotated[int, Field(ge=0, le=WAIT_S_MAX)]
    known: Annotated[list[Identifier], Field(max_length=KNOWN_MAX)] = []


class Fetch(Message):
    """A box asks for the bytes of a release that it was told to apply; the number is one of its calls'."""

    box_id: Identifier
    number: Annotated[int, Field(ge=1, le=2**53)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Commands(Message):
    """The answer to the call of that number."""

    box_id: Identifier
    number: int
    commands: Annotated[list[Command], Field(max_length=COMMANDS_MAX)]


class Signed(Message):
    """JSON text and the Ed25519 signature over it, in base64."""

    said: Annotated[str, Field(max_length=ANSWER_BYTES_MAX)]
    signature: Annotated[str, Field(max_length=100)]


def sign_call(call: Call, signer: Signer) -> Signed:
    return _sign(_CALL, call, signer)


def sign_fetch(fetch: Fetch, signer: Signer) -> Signed:
    return _sign(_FETCH, fetch, signer)


def sign_answer(commands: Commands, signer: Signer) -> Signed:
    return _sign(_ANSWER, commands, signer)


def read_call(signed: Signed) -> Call:
    """What the call says, not verified yet; raises CommandError."""
    try:
        return Call.model_validate_json(signed.said)
    except ValidationError as error:
        raise CommandError("this is no call of a box") from error


def verify_call(signed: Signed, key: PublicKey) -> None:
    """Raises CommandError unless the box of *key* signed it."""
    _verify(_CALL, signed, key)


def read_fetch(signed: Signed) -> Fetch:
    """What is asked for, not verified yet; raises CommandError."""
    try:
        return Fetch.model_validate_json(signed.said)
    except ValidationError as error:
        raise CommandError("this asks for no release") from error


def verify_fetch(signed: Signed, key: PublicKey) -> None:
    """Raises CommandError unless the box of *key* signed it."""
    _verify(_FETCH, signed, key)


def open_answer(signed: Signed, centre: PublicKey, call: Call) -> list[Command]:
    """The commands of an answer to exactly this *call*; raises CommandError."""
    _verify(_ANSWER, signed, centre)
    try:
        answer = Commands.model_validate_json(signed.said)
    except ValidationError as error:
        raise CommandError("the answer holds no commands") from error
    if (answer.box_id, answer.number) != (call.box_id, call.number):
        raise CommandError("the answer belongs to another call")
    return answer.commands


def _sign(what: bytes, message: Message, signer: Signer) -> Signed:
    said = message.model_dump_json()
    return Signed(said=said, signature=base64.b64encode(signer.sign(what + said.encode())).decode())


def _verify(what: bytes, signed: Signed, key: PublicKey) -> None:
    try:
        signature = base64.b64decode(signed.signature, validate=True)
    except binascii.Error:
        signature = b""
    if not key.verify(signature, what + signed.said.encode()):
        raise CommandError("the signature does not fit")
