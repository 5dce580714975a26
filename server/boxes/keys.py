"""The keys of boxes: the one that counts for what comes in, and the older ones for what was signed by them before.

At the door a box's newest key counts. A key that the box itself replaced counts for what still waited then: never
behind a batch of a newer key in its lane, never in an epoch that the centre does not know, and for pictures `OVERLAP`
long. One that an enrolment replaced counts for nothing any more.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple, cast

from sqlalchemy import Table, and_, bindparam, func, select, update
from sqlalchemy.orm import Session

from server.audit import Actor, note
from server.dialects import lock_box
from server.models import Box, StoredBatch
from server.models_boxes import BoxKey
from telemetry.batch import Batch, BatchError, BatchHeader, open_batch
from telemetry.evidence import EvidenceError, SealedEvidence
from telemetry.key_change import KeyChange
from telemetry.signing import SIGNATURE_BYTES, KeyHistory, PublicKey

OVERLAP = timedelta(days=30)
GATEWAY = "gateway-"  # begins the ids of the boxes that stand for a site's third-party gateways
CENTRES_OWN = ("vendor-", GATEWAY)  # the centre itself signs for these boxes
_BOX, _KEY = cast(Table, Box.__table__), cast(Table, BoxKey.__table__)
# made once: each batch of each box asks this twice, and a statement that is made anew costs more than its answer
_STANDING = (
    select(_BOX.c.public_key, _BOX.c.revoked_at, _KEY.c.public_key)
    .select_from(_BOX.outerjoin(_KEY, and_(_KEY.c.box_id == _BOX.c.id, _KEY.c.last_epoch.is_not(None))))
    .where(_BOX.c.id == bindparam("box_id"))
    .order_by(_KEY.c.id.desc())
)


class KeyRefused(Exception):
    """The change does not follow the key that the box has here."""


class Standing(NamedTuple):
    """What is on record of a box that comes to the door: the keys with which it may come, and whether it may at all."""

    keys: KeyHistory
    revoked_at: datetime | None


class KeyBook:
    """Looks up histories, each once. A box with a key on record that is none has no history; ``damaged`` names it."""

    def __init__(self, db: Session) -> None:
        self.damaged: list[str] = []
        self._db = db
        self._known: dict[str, KeyHistory | None] = {}

    def get(self, box_id: str) -> KeyHistory | None:
        """The keys of an enrolled box."""
        if box_id not in self._known:
            box = self._db.get(Box, box_id)
            try:
                self._known[box_id] = _history(box, _replaced(self._db, box_id)) if box else None
            except ValueError:
                self._known[box_id] = None
                self.damaged.append(box_id)
        return self._known[box_id]

    def opened(self, raw: bytes | None) -> Batch | None:
        """A stored batch; None for one that was purged, or damaged since: `verify` names it."""
        try:
            return open_batch(raw or b"", self.get)
        except BatchError:
            return None


def standing_of(db: Session, box_id: str) -> Standing | None:
    """How a box stands here; None if it was never enrolled."""
    rows = db.execute(_STANDING, {"box_id": box_id}).all()
    if not rows:
        return None
    older = tuple(PublicKey.from_b64(row[2]) for row in rows if row[2] is not None)
    return Standing(KeyHistory(PublicKey.from_b64(rows[0][0]).raw, older), rows[0][1])


def door_key(db: Session, box_id: str) -> KeyHistory | None:
    """The keys with which an enrolled box may come to the door; see `check_batch_key` and `check_picture_key`."""
    standing = standing_of(db, box_id)
    return standing.keys if standing else None


def check_not_revoked(db: Session, box_id: str) -> None:
    """Raises BatchError for an enrolled box whose key was revoked: whoever holds it now may not be the box."""
    standing = standing_of(db, box_id)
    if standing is not None:
        _refuse_revoked(box_id, standing.revoked_at)


def _refuse_revoked(box_id: str, revoked_at: datetime | None) -> None:
    if revoked_at is not None:
        raise BatchError("revoked", f"box {box_id} was revoked here; enrol it again")


def _replaced(db: Session, box_id: str) -> list[BoxKey]:
    return list(db.scalars(select(BoxKey).where(BoxKey.box_id == box_id).order_by(BoxKey.id.desc())))


def _history(box: Box, older: list[BoxKey]) -> KeyHistory:
    keys = tuple(PublicKey.from_b64(row.public_key) for row in older)
    return KeyHistory(PublicKey.from_b64(box.public_key).raw, keys)


def hold_keys(db: Session, box_id: str) -> KeyHistory | None:
    """`door_key` at the start of a transaction, until whose end nobody changes them or takes anything of the box.

    Raises BatchError for a box that was revoked.
    """
    lock_box(db, box_id)
    standing = standing_of(db, box_id)
    if standing is None:
        return None
    _refuse_revoked(box_id, standing.revoked_at)
    return standing.keys


def check_batch_key(db: Session, batch: Batch, seen: KeyHistory | None, keys: KeyHistory | None) -> None:
    """Raises BatchError for a batch that was signed by a key after its time.

    *seen*: the keys with which it was opened, before the transaction; *keys*: those that `hold_keys` gave in it.
    """
    if keys == seen and keys is not None and not keys.older:
        return
    place = _place(keys, batch.raw) if keys else None
    if keys is None or place is None:
        raise BatchError("signature", f"the signature of box {batch.header.box_id} does not fit these bytes")
    if place > 0 and not _is_before(db, batch.header, keys, place):
        raise BatchError("replaced_key", f"box {batch.header.box_id} had another key when it sealed this")


def _is_before(db: Session, header: BatchHeader, keys: KeyHistory, place: int) -> bool:
    """Whether a batch that the key at *place* signed stands where only that key or older ones signed."""
    replaced = _replaced(db, header.box_id)[place - 1]
    epoch = (StoredBatch.box_id == header.box_id, StoredBatch.epoch == header.epoch)
    before = db.execute(
        select(StoredBatch.raw, StoredBatch.received_at)
        .where(*epoch, StoredBatch.lane == header.lane, StoredBatch.seq < header.seq)
        .order_by(StoredBatch.seq.desc())
        .limit(1)
    ).one_or_none()
    if before is None:
        known = select(StoredBatch.id).where(*epoch).limit(1)
        return header.epoch == replaced.last_epoch or db.scalar(known) is not None
    raw, received_at = before
    if not raw:  # purged since: its time tells
        return bool(received_at <= replaced.replaced_at)
    signed_by = _place(keys, raw)
    return signed_by is None or signed_by >= place  # None: a key from before an enrolment


def _place(keys: KeyHistory, raw: bytes) -> int | None:
    """Which of *keys* signed a whole batch."""
    return keys.position(raw[-SIGNATURE_BYTES:], raw[:-SIGNATURE_BYTES])


def place_of_key(keys: KeyHistory | None, batch: Batch) -> int:
    """How many keys came after the one that signed *batch*, which was opened with *keys*."""
    return (_place(keys, batch.raw) or 0) if keys and keys.older else 0


def check_picture_key(db: Session, evidence: SealedEvidence) -> None:
    """Raises EvidenceError for a picture whose key was replaced too long ago, or by an enrolment meanwhile."""
    box_id = evidence.manifest.box_id
    keys = door_key(db, box_id)
    place = keys.position(evidence.signature, evidence.signed) if keys else None
    if place == 0:
        return
    if place is None or _replaced(db, box_id)[place - 1].replaced_at < datetime.now(UTC) - OVERLAP:
        raise EvidenceError("signature", f"box {box_id} had another key when it sealed this, too long ago")


def replace_key(db: Session, box: Box, key: PublicKey, now: datetime) -> None:
    """An enrolment gives *box* its *key*: what came of it before counts no longer at the door; raises ValueError for
    one that it had before."""
    _put_in_place(db, box, key, now, None)
    db.execute(update(BoxKey).where(BoxKey.box_id == box.id).values(last_epoch=None))
    box.revoked_at = None
    db.flush()


def _put_in_place(db: Session, box: Box, key: PublicKey, now: datetime, last_epoch: str | None) -> None:
    had = set(db.scalars(select(BoxKey.public_key).where(BoxKey.box_id == box.id))) | {box.public_key}
    if key.b64 in had:
        raise ValueError("this key was the box's before; make a new one in an empty data folder")
    db.add(BoxKey(box_id=box.id, public_key=box.public_key, replaced_at=now, last_epoch=last_epoch))
    box.public_key = key.b64
    db.flush()


def rotate_key(db: Session, change: KeyChange, remote: str) -> datetime:
    """The box replaces its key; gives the time from which the new one counts. The same change twice is done once.

    Raises KeyRefused or BatchError.
    """
    lock_box(db, change.box_id)
    box = check_change(db, change)
    if box.public_key == change.new_key:
        return _done_before(db, change)
    now = datetime.now(UTC)
    try:
        _put_in_place(db, box, PublicKey.from_b64(change.new_key), now, change.epoch or "")
    except ValueError as error:
        raise KeyRefused(str(error)) from error
    said = {"old_key": change.old_key, "new_key": change.new_key}
    note(db, Actor("box", box.id, box.name, remote), "box.rotate_key", ("box", box.id), said, site_id=box.site_id)
    return now


def check_change(db: Session, change: KeyChange) -> Box:
    """The box, if it may change its key so, as far as the present key tells: no stranger comes further.

    Raises KeyRefused, or BatchError for a box that is unknown or revoked.
    """
    box = db.get(Box, change.box_id)
    if box is None:
        raise BatchError("unknown_box", f"no box {change.box_id} is enrolled here")
    _refuse_revoked(box.id, box.revoked_at)
    if box.public_key not in (change.old_key, change.new_key):
        raise KeyRefused("the old key is not the one that this box has here")
    return box


def _done_before(db: Session, change: KeyChange) -> datetime:
    """The box did not hear that it was done; its outbox may have begun another epoch meanwhile."""
    row = _replaced(db, change.box_id)[:1]
    if not row or row[0].public_key != change.old_key or row[0].last_epoch is None:
        raise KeyRefused("the old key is not the one that this box has here")
    row[0].last_epoch = change.epoch or row[0].last_epoch
    db.flush()
    return row[0].replaced_at


def keys_since(db: Session) -> dict[str, datetime]:
    """When the present key of each box began that had another before."""
    rows = db.execute(select(BoxKey.box_id, func.max(BoxKey.replaced_at)).group_by(BoxKey.box_id))
    return {row[0]: row[1] for row in rows}
