"""Puts what a third-party gateway writes into the journal, so that a rebuild and `verify` know it as any reading.

A gateway signs nothing; the centre does it at the door, with the key of the instance, in the name of a box that stands
for all gateways of one site. One request is one batch, chained to the one before. A request that is sent again becomes
another batch with the same points, which the series holds once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.audit import Actor, note
from server.boxes.keys import GATEWAY
from server.ingest import take_batch
from server.models import Box, StoredBatch
from telemetry.batch import FIRST_PREVIOUS, Batch, BatchHeader, dump_records, seal_payload, sha256_hex
from telemetry.messages import Reading
from telemetry.signing import Signer

EPOCH = "line-protocol"
NAME = "gateway"


def store_readings(
    db: Session, signer: Signer, site_id: int, readings: Sequence[Reading], payload: bytes, actor: Actor,
    *, series_here: bool,
) -> str:  # fmt: skip
    """Journal the readings of one request, of which *payload* is the JSON; gives the id of the gateway's box.

    *db* is in a writing transaction that waits for no other writer.
    """
    box = _box_of(db, signer, site_id, actor)
    last = db.execute(
        select(StoredBatch.seq, StoredBatch.sha256)
        .where(StoredBatch.box_id == box.id, StoredBatch.epoch == EPOCH, StoredBatch.lane == "readings")
        .order_by(StoredBatch.seq.desc())
        .limit(1)
    ).first()
    seq, previous = (last[0] + 1, last[1]) if last else (1, FIRST_PREVIOUS)
    header = BatchHeader(
        box_id=box.id, epoch=EPOCH, lane="readings", seq=seq, previous_sha256=previous, created_at=datetime.now(UTC),
        count=len(readings), boot_id="centre",
    )  # fmt: skip
    raw = seal_payload(header, payload, signer)
    batch = Batch(header, list(enumerate(readings)), [], sha256_hex(raw), raw)
    receipt, _ = take_batch(db, batch, series_here=series_here)
    assert receipt.status == "accepted", receipt.reason
    return box.id


def payload_of(readings: Sequence[Reading]) -> bytes:
    """The JSON of the readings as it is journalled: the long part of the work, which needs no transaction."""
    return dump_records("readings", readings)


def _box_of(db: Session, signer: Signer, site_id: int, actor: Actor) -> Box:
    """The box that stands for the gateways of a site; another key makes another box, as old batches keep theirs."""
    box_id = f"{GATEWAY}{site_id}-{sha256(signer.public_key.raw).hexdigest()[:8]}"
    box = db.get(Box, box_id)
    if box is None:
        box = Box(
            id=box_id, name=NAME, site_id=site_id, public_key=signer.public_key_b64, enrolled_at=datetime.now(UTC)
        )
        db.add(box)
        db.flush()
        note(db, actor, "gateway.add", ("box", box_id), site_id=site_id)
    return box
