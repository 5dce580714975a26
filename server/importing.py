"""Takes batches from a file that a box exported: a line that never came back must not cost the record anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from server.boxes.keys import check_batch_key, check_not_revoked, door_key
from server.database import writing
from server.ingest import take_batch
from telemetry.batch import BatchError, open_batch, read_frame, read_header

BATCHES_PER_COMMIT = 100


def import_batches(engine: Engine, path: Path, *, series_here: bool) -> Counter[str]:
    """Take each batch of the file as if the box had sent it; counts receipts by status and ``refused`` frames.

    Unless the series is *here*, in the record, its points follow from the journal. What cannot be verified is refused
    and leaves no trace. Raises OSError or BatchError (the file is no export).
    """
    counts: Counter[str] = Counter()
    frames = _frames(path)
    while part := list(islice(frames, BATCHES_PER_COMMIT)):
        with Session(writing(engine)) as db, db.begin():
            counts.update(_take(db, raw, series_here) for raw in part)
    return counts


def _take(db: Session, raw: bytes, series_here: bool) -> str:
    try:
        keys = door_key(db, read_header(raw)[0].box_id)
        batch = open_batch(raw, lambda _: keys)
        check_not_revoked(db, batch.header.box_id)
        check_batch_key(db, batch, keys, keys)
    except BatchError:
        return "refused"
    receipt, _ = take_batch(db, batch, series_here=series_here)
    return receipt.status


def _frames(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while raw := read_frame(file):
            yield raw
