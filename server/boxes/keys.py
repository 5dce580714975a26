"""The keys of boxes: the one that counts for what comes in, and the older ones for what was signed by them before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.models import Box
from server.models_boxes import BoxKey
from telemetry.signing import PublicKey


@dataclass(frozen=True)
class KeyHistory(PublicKey):
    """A box's key with those before it: what any of them signed is its word. For the record, never at the door."""

    older: tuple[PublicKey, ...] = ()

    def verify(self, signature: bytes, data: bytes) -> bool:
        return PublicKey.verify(self, signature, data) or any(key.verify(signature, data) for key in self.older)


class KeyBook:
    """Looks up histories, each once."""

    def __init__(self, db: Session) -> None:
        self._db = db
        self._known: dict[str, KeyHistory | None] = {}

    def get(self, box_id: str) -> KeyHistory | None:
        """The keys of an enrolled box."""
        if box_id not in self._known:
            self._known[box_id] = self._find(box_id)
        return self._known[box_id]

    def _find(self, box_id: str) -> KeyHistory | None:
        box = self._db.get(Box, box_id)
        if box is None:
            return None
        older = self._db.scalars(select(BoxKey.public_key).where(BoxKey.box_id == box_id).order_by(BoxKey.id.desc()))
        return KeyHistory(PublicKey.from_b64(box.public_key).raw, tuple(PublicKey.from_b64(key) for key in older))


def replace_key(db: Session, box: Box, key: PublicKey, now: datetime) -> None:
    """From now on *box* signs with *key*; raises ValueError for one that it had before."""
    had = set(db.scalars(select(BoxKey.public_key).where(BoxKey.box_id == box.id))) | {box.public_key}
    if key.b64 in had:
        raise ValueError("this key was the box's before; make a new one in an empty data folder")
    db.add(BoxKey(box_id=box.id, public_key=box.public_key, replaced_at=now))
    box.public_key = key.b64
    box.revoked_at = None
    db.flush()
