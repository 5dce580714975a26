"""The key files that all replicas of a centre share. The record keeps their fingerprints, so that a wrong one is told.

A replica with a key of its own would not open what another one sealed, and boxes would refuse its commands. A file is
made by itself only where the record knows of none: at the first start of a centre, or of a restored one.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session

from server import instance_key
from server.audit import CONSOLE, note
from server.boxes import calls
from server.database import writing
from server.models_keys import KeyPrint
from server.notification import web_push
from server.vendors import intake

# file → what makes it where there is none, and checks it
SHARED: dict[str, Callable[[Path], object]] = {
    instance_key.FILE_NAME: instance_key.InstanceKey.load,
    calls.KEY_FILE: calls.load_centre_key,
    intake.KEY_FILE: intake.ensure_secret,
    web_push.KEY_FILE: web_push.ensure_key,
}
# what stops with the former keys, for whoever takes others
AFTERWARDS = (
    f"with another {calls.KEY_FILE} boxes take no commands, configurations or models until each is enrolled again "
    f"(brightline-server enrol); with another {instance_key.FILE_NAME} people set up their second factor anew; with "
    f"another {web_push.KEY_FILE} devices allow push messages anew"
)
CONTEXT = b"brightline key file 1\0"
SHOWN_CHARACTERS = 16


def fingerprint(path: Path) -> str:
    """SHA-256 of a file's name and bytes, in hex: it tells nothing of 32 random bytes. Raises OSError."""
    return sha256(CONTEXT + path.name.encode() + b"\0" + path.read_bytes()).hexdigest()


def agree_on_keys(engine: Engine, data_dir: Path) -> None:
    """At a start: the folder has the centre's keys, or makes them for a new one.

    Raises ValueError with what to copy where, KeyFileError for a file that is none, OSError and SQLAlchemyError.
    """
    with Session(writing(engine)) as db, db.begin():
        problems = wrong_keys(db, data_dir)
        if problems:
            raise ValueError("\n".join(problems))
        known = known_keys(db)
        for name, make in SHARED.items():
            make(data_dir)
            if name not in known:
                db.add(_print_of(data_dir / name))


def adopt_keys(db: Session, data_dir: Path) -> None:
    """Take the keys of a folder as the centre's, in the caller's transaction: the former ones are lost.

    Raises KeyFileError and OSError.
    """
    db.execute(delete(KeyPrint))
    for name, make in SHARED.items():
        make(data_dir)
        db.add(_print_of(data_dir / name))
    note(db, CONSOLE, "keys.adopt", ("keys", ", ".join(SHARED)))


def forget_keys(db: Session) -> None:
    """A restored centre makes new keys, in the caller's transaction."""
    db.execute(delete(KeyPrint))


def known_keys(db: Session) -> set[str]:
    """The names of the files whose fingerprints are on record."""
    return set(db.scalars(select(KeyPrint.name)))


def wrong_keys(db: Session, data_dir: Path) -> list[str]:
    """For each file that is not the centre's, what to copy where; nothing is changed. Raises OSError."""
    return [
        _remedy(known, data_dir / known.name)
        for known in db.scalars(select(KeyPrint).order_by(KeyPrint.name))
        if known.name in SHARED and _is_other(known, data_dir / known.name)
    ]


def _is_other(known: KeyPrint, path: Path) -> bool:
    return not path.exists() or fingerprint(path) != known.sha256


def _remedy(known: KeyPrint, path: Path) -> str:
    found = f"has the fingerprint {fingerprint(path)[:SHOWN_CHARACTERS]}" if path.exists() else "is missing"
    return (
        f"{path} {found}, this centre's {known.name} has {known.sha256[:SHOWN_CHARACTERS]} (first seen on the machine "
        f"{known.host}, {known.noted_at:%Y-%m-%d}). Copy {known.name} from the data folder of another replica, or from "
        f"your own copy of it, to {path}, for its owner alone (chmod 600). Only if it is lost for good: "
        f"brightline-server adopt-keys --data {path.parent}"
    )


def _print_of(path: Path) -> KeyPrint:
    return KeyPrint(
        name=path.name, sha256=fingerprint(path), host=socket.gethostname()[:255], noted_at=datetime.now(UTC)
    )
