"""What a test does with a record in this process: alerts, moves, proofs and turns of the clockwork, at given times."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from server import service
from server.blob_folder import FolderBlobStore
from server.database import writing
from server.life_cycle.clockwork import Clockwork
from server.life_cycle.proof import Claim, prove
from server.life_cycle.raising import raise_alert
from server.life_cycle.rules import default_rules
from server.life_cycle.state import Move
from server.live import Broadcaster, Change
from server.models import Alert, AlertMove, Box, Site, User
from server.photo import read_photo
from server.regions import ensure_region
from server.series.port import SeriesStore, SeriesUnavailable
from server.service import Hand

ZONE = ZoneInfo("Asia/Shanghai")
# a Tuesday morning, a working day, 09:00 at the site
MORNING = datetime(2026, 3, 10, 1, tzinfo=UTC)
CLAIM = Claim(place="备餐间", person="王丽", matter="repaired", scene="the whole room", taken_at="")


class Heard:
    """A broadcaster that keeps what it is told."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def publish(self, changes: Sequence[Change]) -> None:
        self.changes += changes


class NoSeries:
    """A series store that cannot be reached."""

    def range(self, *_: object) -> Iterator[Any]:
        raise SeriesUnavailable("out")


@dataclass
class Desk:
    """The record, the time it is now, and the hands that act."""

    engine: Engine
    folder: Path
    jpeg: Callable[..., bytes]
    now: datetime = MORNING
    series: Any = field(default_factory=NoSeries)
    heard: Heard = field(default_factory=Heard)
    photos: int = 0

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)

    @contextmanager
    def changing(self) -> Iterator[Session]:
        with Session(writing(self.engine), expire_on_commit=False) as db, db.begin():
            yield db

    def hand(self, role: str, site: str = "A") -> Hand:
        """Somebody of a role at a site, or of the whole instance."""
        with self.changing() as db:
            user = db.scalar(select(User).where(User.username == f"{role}-{site}"))
            if user is None:
                of_site = role not in ("regulator", "auditor", "administrator")
                user = User(
                    username=f"{role}-{site}", display_name=role, password_hash="", role=role,
                    site_id=self._site(db, site).id if of_site else None,
                )  # fmt: skip
                db.add(user)
                db.flush()
                db.refresh(user, ["region"])
        return Hand(user, "192.0.2.1", default_rules(), lambda: self.now)

    def _site(self, db: Session, name: str) -> Site:
        site = db.scalar(select(Site).where(Site.name == name))
        if site is None:
            site = Site(name=name, time_zone="Asia/Shanghai", region=ensure_region(db, f"浙江/杭州/{name}"))
            db.add(site)
            db.add(Box(id=f"box-{name}", name="box", site=site, public_key="", enrolled_at=self.now))
            db.flush()
        return site

    def raised(self, kind: str = "no_mask", site: str = "A", source: str = "cam-1", **fields: Any) -> int:
        """A new alert of now; its number."""
        with self.changing() as db:
            defaults = {
                "incident_id": uuid.uuid4().hex, "site_id": self._site(db, site).id, "box_id": f"box-{site}",
                "source_id": source, "source_name": source, "place": "备餐间", "opened_at": self.now, "ended_at": None,
                "data": {"model_sha256": "m" * 64},
            }  # fmt: skip
            alert = Alert(kind=kind, **{**defaults, **fields})
            raise_alert(db, alert, default_rules(), self.now)
            return alert.id

    def move(self, alert_id: int, move: Move, role: str = "staff", note: str = "", **said: str) -> Alert:
        hand = self.hand(role)
        with self.changing() as db:
            return service.make_move(db, hand, alert_id, move, note, **said)

    def submit(self, alert_id: int, photo: bytes | None = None, role: str = "staff", site: str = "A") -> Alert:
        """A whole proof with a photo of now; each a new one unless it is given."""
        self.photos += 1
        read = read_photo(photo or self.jpeg(1000 + self.photos))
        claim = Claim(**{**CLAIM.__dict__, "taken_at": self.now.isoformat()})
        hand = self.hand(role, site)
        proof = prove([read], claim, self.alert(alert_id).opened_at, ZONE, self.now, timedelta(minutes=5))
        with self.changing() as db:
            service.check_proof(db, hand, alert_id, proof)
        service.keep_photos(FolderBlobStore(self.folder / "blobs"), proof)
        with self.changing() as db:
            return service.submit_rectification(db, hand, alert_id, proof)[0]

    def clockwork(self) -> Clockwork:
        """As of a replica."""
        heard, series = cast(Broadcaster, self.heard), cast(SeriesStore, self.series)
        return Clockwork(self.engine, default_rules(), series, heard, lambda: self.now)

    def alert(self, alert_id: int) -> Alert:
        with Session(self.engine, expire_on_commit=False) as db:
            return db.get_one(Alert, alert_id)

    def rows(self, table: type[Any]) -> list[Any]:
        with Session(self.engine, expire_on_commit=False) as db:
            return list(db.scalars(select(table).order_by(table.id)))

    def moves(self, alert_id: int) -> list[tuple[str, str | None, str]]:
        return [(row.move, row.old_state, row.new_state) for row in self.rows(AlertMove) if row.alert_id == alert_id]
