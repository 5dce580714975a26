"""The file of public keys: one a line, ``log <name+hash+base64>`` or ``box <id> <base64>``; ``#`` begins a comment.

Of a box that had several keys the newest stands first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.boxes.keys import KeyBook
from server.merkle.checkpoint import LogKey
from server.merkle.log import known_keys
from server.models import Box
from telemetry.signing import KeyHistory, PublicKey

FILE_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True)
class PublicKeys:
    """The keys of the log's signers, and of boxes by their ids."""

    log: list[LogKey] = field(default_factory=list)
    boxes: dict[str, KeyHistory] = field(default_factory=dict)

    @property
    def text(self) -> str:
        lines = [f"log {key.text}" for key in self.log]
        lines += [
            f"box {box_id} {key.b64}" for box_id, keys in sorted(self.boxes.items()) for key in (keys, *keys.older)
        ]
        return "".join(f"{line}\n" for line in lines)


def read_public_keys(path: Path) -> PublicKeys:
    """The keys in a file; raises ValueError with the line, or OSError."""
    if path.stat().st_size > FILE_BYTES_MAX:
        raise ValueError(f"{path}: has more than {FILE_BYTES_MAX} bytes")
    keys = PublicKeys()
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        match line.partition("#")[0].split():
            case []:
                continue
            case ["log", text]:
                try:
                    keys.log.append(LogKey.read(text))
                except ValueError as error:
                    raise ValueError(f"{path}:{number}: {error}") from None
            case ["box", box_id, text]:
                try:
                    key, known = PublicKey.from_b64(text), keys.boxes.get(box_id)
                    older = (*known.older, key) if known else ()
                    keys.boxes[box_id] = KeyHistory((known or key).raw, older)
                except ValueError as error:
                    raise ValueError(f"{path}:{number}: {error}") from None
            case _:
                raise ValueError(f"{path}:{number}: is neither log KEY nor box ID KEY")
    return keys


def keys_of_record(db: Session, own: PublicKey) -> PublicKeys:
    """All keys that this record knows of, and this instance's own."""
    log = {key.text: key for key in [*known_keys(db), LogKey.of(own)]}
    book = KeyBook(db)
    boxes = {box_id: keys for box_id in db.scalars(select(Box.id)) if (keys := book.get(box_id)) is not None}
    return PublicKeys(list(log.values()), boxes)
