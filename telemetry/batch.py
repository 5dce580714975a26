"""The unit of transport: records sealed into exact bytes that are signed, hashed and chained.

Frame: ``BLB1`` | u32 header length | u32 payload length | header JSON | zstd(JSON array) | Ed25519 signature over
all before it; integers are big-endian. The SHA-256 of the whole frame goes into the next batch of its lane, so
that a batch can be neither altered nor left out unseen. Frames stand one behind the other in a request body.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, BinaryIO

import zstandard
from pydantic import Field, TypeAdapter, ValidationError

from telemetry.messages import Event, Identifier, Lane, Message, Reading, RejectedRecord, UtcTime
from telemetry.signing import SIGNATURE_BYTES, PublicKey, Signer

MAGIC = b"BLB1"
FIRST_PREVIOUS = "0" * 64
HEADER_BYTES_MAX = 4096
FRAME_BYTES_MAX = 8 * 1024 * 1024
PAYLOAD_BYTES_MAX = 32 * 1024 * 1024
_LENGTHS = struct.Struct(">II")
_PREFIX_BYTES = len(MAGIC) + _LENGTHS.size
_RAW_RECORDS: TypeAdapter[list[dict[str, object]]] = TypeAdapter(list[dict[str, object]])
_RECORD_TYPE: dict[Lane, type[Reading] | type[Event]] = {"readings": Reading, "events": Event}
# One call for a whole batch: twice as fast as record by record, and the same bytes
_RECORDS: dict[Lane, TypeAdapter[list[Reading]] | TypeAdapter[list[Event]]] = {
    "readings": TypeAdapter(list[Reading]),
    "events": TypeAdapter(list[Event]),
}

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Record = Reading | Event


class BatchError(Exception):
    """Bytes that are no batch of a known box. ``code`` is one of malformed, too_large, unknown_box, signature."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class BatchHeader(Message):
    """Identity ``(box_id, epoch, lane, seq)`` and the link to the batch before it in its lane."""

    box_id: Identifier
    epoch: Identifier
    lane: Lane
    seq: Annotated[int, Field(ge=1, le=2**53)]
    previous_sha256: Sha256
    created_at: UtcTime
    count: Annotated[int, Field(ge=1, le=100_000)]
    boot_id: Identifier


@dataclass(frozen=True)
class Batch:
    """An opened batch; ``rejected`` names the records that are not valid messages."""

    header: BatchHeader
    records: list[tuple[int, Record]]
    rejected: list[RejectedRecord]
    sha256: str
    raw: bytes


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def dump_records(lane: Lane, records: Sequence[Record]) -> bytes:
    """The JSON array of *records*, exactly as it travels."""
    return _RECORDS[lane].dump_json(list(records))  # type: ignore[arg-type]


def join_payloads(payloads: Sequence[bytes]) -> bytes:
    """One JSON array out of several, which are what `dump_records` made (never empty)."""
    return b"[" + b",".join(payload[1:-1] for payload in payloads) + b"]"


def seal_batch(header: BatchHeader, records: Sequence[Record], signer: Signer) -> bytes:
    """The exact bytes of a batch; the same arguments give the same bytes."""
    if len(records) != header.count:
        raise ValueError(f"the header counts {header.count} records, {len(records)} were given")
    return seal_payload(header, dump_records(header.lane, records), signer)


def seal_payload(header: BatchHeader, payload: bytes, signer: Signer) -> bytes:
    """As `seal_batch`, from the JSON array of the ``header.count`` records."""
    packed = zstandard.ZstdCompressor(level=3).compress(payload)
    head = header.model_dump_json().encode()
    body = MAGIC + _LENGTHS.pack(len(head), len(packed)) + head + packed
    return body + signer.sign(body)


def split_batches(body: bytes) -> list[bytes]:
    """Cut a request body into frames; raises BatchError("malformed" or "too_large")."""
    frames: list[bytes] = []
    start = 0
    while start < len(body):
        end = start + _frame_bytes(body[start : start + _PREFIX_BYTES])
        if end > len(body):
            raise BatchError("malformed", f"frame {len(frames)} is cut short")
        frames.append(body[start:end])
        start = end
    if not frames:
        raise BatchError("malformed", "the body holds no batch")
    return frames


def _frame_bytes(prefix: bytes) -> int:
    if len(prefix) < _PREFIX_BYTES or not prefix.startswith(MAGIC):
        raise BatchError("malformed", "a batch starts with BLB1 and two lengths")
    head, payload = _LENGTHS.unpack(prefix[len(MAGIC) :])
    total = int(_PREFIX_BYTES + head + payload + SIGNATURE_BYTES)
    if head > HEADER_BYTES_MAX or total > FRAME_BYTES_MAX:
        raise BatchError("too_large", f"a batch has at most {FRAME_BYTES_MAX} bytes")
    return total


def read_frame(file: BinaryIO) -> bytes:
    """The next frame of an open file, b"" at its end; raises BatchError as `split_batches` does."""
    prefix = file.read(_PREFIX_BYTES)
    if not prefix:
        return b""
    raw = prefix + file.read(_frame_bytes(prefix) - len(prefix))
    if len(raw) != _frame_bytes(prefix):
        raise BatchError("malformed", "the last batch is cut short")
    return raw


def read_header(raw: bytes) -> tuple[BatchHeader, bytes]:
    """Header and packed payload of one frame, nothing verified yet; raises BatchError."""
    if _frame_bytes(raw[:_PREFIX_BYTES]) != len(raw):
        raise BatchError("malformed", "the lengths do not add up to the frame")
    head_bytes, _ = _LENGTHS.unpack(raw[len(MAGIC) : _PREFIX_BYTES])
    try:
        header = BatchHeader.model_validate_json(raw[_PREFIX_BYTES : _PREFIX_BYTES + head_bytes])
    except ValidationError as error:
        raise BatchError("malformed", f"header: {error.errors()[0]['msg']}") from error
    return header, raw[_PREFIX_BYTES + head_bytes : -SIGNATURE_BYTES]


def open_batch(raw: bytes, key_of: Callable[[str], PublicKey | None]) -> Batch:
    """Verify and read one frame; raises BatchError. No payload byte is read before the signature holds."""
    header, packed = read_header(raw)
    key = key_of(header.box_id)
    if key is None:
        raise BatchError("unknown_box", f"no box {header.box_id} is enrolled here")
    if not key.verify(raw[-SIGNATURE_BYTES:], raw[:-SIGNATURE_BYTES]):
        raise BatchError("signature", f"the signature of box {header.box_id} does not fit these bytes")
    payload = _unpack(packed)
    records, rejected = _read_records(header, payload)
    return Batch(header, records, rejected, sha256_hex(raw), raw)


def _read_records(header: BatchHeader, payload: bytes) -> tuple[list[tuple[int, Record]], list[RejectedRecord]]:
    """All records in one go; only if one of them is wrong, record by record to name it."""
    try:
        whole = _RECORDS[header.lane].validate_json(payload)
    except ValidationError:
        return _read_one_by_one(header, payload)
    _check_count(header, len(whole))
    return list(enumerate(whole)), []


def _check_count(header: BatchHeader, found: int) -> None:
    if found != header.count:
        raise BatchError("malformed", f"the header counts {header.count} records, the payload holds {found}")


def _read_one_by_one(header: BatchHeader, payload: bytes) -> tuple[list[tuple[int, Record]], list[RejectedRecord]]:
    try:
        items = _RAW_RECORDS.validate_json(payload)
    except ValidationError as error:
        raise BatchError("malformed", "the payload is not a JSON array of objects") from error
    _check_count(header, len(items))
    records: list[tuple[int, Record]] = []
    rejected: list[RejectedRecord] = []
    model = _RECORD_TYPE[header.lane]
    for index, item in enumerate(items):
        try:
            records.append((index, model.model_validate(item)))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            rejected.append(RejectedRecord(index=index, reason=f"{place}: {first['msg']}"[:512]))
    return records, rejected


def _unpack(packed: bytes) -> bytes:
    try:
        with zstandard.ZstdDecompressor(max_window_size=PAYLOAD_BYTES_MAX).stream_reader(packed) as reader:
            payload = reader.read(PAYLOAD_BYTES_MAX + 1)
    except zstandard.ZstdError as error:
        raise BatchError("malformed", "the payload is not zstd") from error
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise BatchError("too_large", f"a payload unpacks to at most {PAYLOAD_BYTES_MAX} bytes")
    return payload
