"""Puts what a third-party gateway writes into the journal, so that a rebuild and `verify` know it as any reading.

A gateway signs nothing; the centre does it at the door, with the key of the instance, in the name of a box that stands
for all gateways of one site. One request is one batch, chained to the one before. A request that is sent again becomes
another batch with the same points, which the series holds once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from server.audit import Actor, note
from server.boxes.keys import GATEWAY
from server.ingest import journal_batch
from server.intake.lines import Value
from server.models import Box, StoredBatch
from server.reports.sources import index_batch, widen
from server.series.port import Point
from server.series.record import insert_points
from telemetry.batch import FIRST_PREVIOUS, BatchHeader, seal_payload, sha256_hex
from telemetry.signing import Signer

EPOCH = "line-protocol"
NAME = "gateway"
_REST = 'Z","quality":"good","reason":null,"clock_synced":true}'
_LAST = (
    select(StoredBatch.seq, StoredBatch.sha256)
    .where(StoredBatch.box_id == bindparam("box_id"), StoredBatch.epoch == EPOCH, StoredBatch.lane == "readings")
    .order_by(StoredBatch.seq.desc())
    .limit(1)
)


def store_values(
    db: Session, signer: Signer, site_id: int, values: Sequence[Value], payload: bytes, actor: Actor,
    *, series_here: bool,
) -> str:  # fmt: skip
    """Journal the values of one request, of which *payload* is the JSON; gives the id of the gateway's box.

    *db* is in a writing transaction that waits for no other writer.
    """
    box_id = _box_of(db, signer, site_id, actor).id
    last = db.execute(_LAST, {"box_id": box_id}).first()
    seq, previous = (last[0] + 1, last[1]) if last else (1, FIRST_PREVIOUS)
    header = BatchHeader(
        box_id=box_id, epoch=EPOCH, lane="readings", seq=seq, previous_sha256=previous, created_at=datetime.now(UTC),
        count=len(values), boot_id="centre",
    )  # fmt: skip
    raw = seal_payload(header, payload, signer)
    _, reason, batch_id = journal_batch(db, header, sha256_hex(raw), raw)
    assert batch_id is not None, reason
    index_batch(db, batch_id, header, widen((value.of.sensor_id, value.when.at_ms) for value in values))
    if series_here:
        insert_points(
            db, [Point(box_id, of.sensor_id, of.quantity, when.at_ms, told, "good") for of, when, told in values]
        )
    return box_id


def payload_of(values: Sequence[Value]) -> bytes:
    """The values as they are journalled, the JSON of readings: the long part of the work, which needs no transaction.

    It is written here from what each line has in common with others; the model would look at every value again.
    """
    quantities = {value.of for value in values}
    begun = {
        of: f'{{"sensor_id":{_quoted(of.sensor_id)},"quantity":{_quoted(of.quantity)},"value":' for of in quantities
    }
    ended = {of: f',"unit":{_quoted(of.unit)},"observed_at":"' for of in quantities}
    times = {when: when.at.isoformat().removesuffix("+00:00") for when in {value.when for value in values}}
    return (
        f"[{','.join([f'{begun[of]}{told!r}{ended[of]}{times[when]}{_REST}' for of, when, told in values])}]".encode()
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


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
