"""A record with people, channels and alerts, a clock that a test moves, and a notifier that remembers."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from server.accounts import ensure_site
from server.database import make_engine, writing
from server.models import Alert, Box, User
from server.models_notification import AlertChange, NotificationChannel, NotificationMessage
from server.notification.egress import Egress
from server.notification.outbox import queue_notices
from server.notification.port import Message, Recipient, Undelivered
from server.notification.settings import NotificationSettings
from server.notification.worker import Worker
from server.settings import Settings
from tests.ready_record import lay_ready_record

NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)  # 12:00 in Shanghai
SITE = "第一食堂"


class ScriptedNotifier:
    """Remembers what it sent; addresses in ``refusing`` fail, those in ``ended`` for good."""

    kinds = frozenset({"mail", "wecombot", "push"})

    def __init__(self) -> None:
        self.sent: list[tuple[str, Message]] = []
        self.refusing: set[str] = set()
        self.ended: set[str] = set()
        self.tries: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def check(self, given: str, kind: str) -> tuple[str, str]:
        del kind
        return given, f"…{given[-2:]}"

    def send(self, message: Message, recipient: Recipient) -> None:
        with self._lock:
            self.tries.append((recipient.address, message.idempotency_key))
            if recipient.address in self.ended:
                raise Undelivered("gone", final=True)
            if recipient.address in self.refusing:
                raise Undelivered("unreachable")
            self.sent.append((recipient.address, message))

    def to(self, address: str) -> list[Message]:
        return [message for name, message in self.sent if name == address]


class Desk:
    """What one test works with. ``now`` stands still until the test moves it."""

    def __init__(self, folder: Path, settings: NotificationSettings | None = None) -> None:
        lay_ready_record(folder)
        self.engine: Engine = make_engine(Settings(data_dir=folder))
        self.settings = settings or NotificationSettings()
        self.now = NOON
        self.notifier = ScriptedNotifier()
        self.egress = Egress()
        self.worker = self.new_worker()

    def new_worker(self) -> Worker:
        return Worker(self.engine, self.settings, [self.notifier], self.egress, clock=lambda: self.now)

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def db(self) -> Iterator[Session]:
        with Session(writing(self.engine), expire_on_commit=False) as db, db.begin():
            yield db

    def channel(self, address: str, role: str = "staff", **changes: Any) -> int:
        """Somebody with this role and one channel; the channel's number."""
        with self.db() as db:
            site = ensure_site(db, SITE)
            name = uuid.uuid4().hex
            user = User(
                username=name, display_name=f"person {address}", password_hash="-", role=role,
                site_id=site.id if role == "staff" else None,
            )  # fmt: skip
            db.add(user)
            db.flush()
            fields = {"kind": "mail", "language": "zh-CN", "tier_max": 3, **changes}
            row = NotificationChannel(
                user_id=user.id, address=address, label=f"…{address[-2:]}", created_at=NOON, **fields
            )
            db.add(row)
            db.flush()
            return row.id

    def alert(self, tier: int = 2, kind: str = "no_mask", source: str = "cam-1", change: str = "raise") -> int:
        """An alert that is raised now; its number."""
        with self.db() as db:
            site = ensure_site(db, SITE)
            if db.get(Box, "box-1") is None:
                db.add(Box(id="box-1", name="b", site_id=site.id, public_key="-", enrolled_at=NOON))
                db.flush()
            alert = Alert(
                incident_id=uuid.uuid4().hex, site_id=site.id, box_id="box-1", kind=kind, tier=tier, state="open",
                source_id=source, source_name=source, place="备餐间", opened_at=self.now,
                deadline_at=self.now + timedelta(hours=2), data={},
            )  # fmt: skip
            db.add(alert)
            db.flush()
            queue_notices(db, alert, change)
            db.execute(update(AlertChange).where(AlertChange.position.is_(None)).values(at=self.now))
            return alert.id

    def change(self, alert_id: int, change: str) -> None:
        with self.db() as db:
            queue_notices(db, db.get_one(Alert, alert_id), change)

    def work(self, worker: Worker | None = None) -> int:
        """One round of a worker; how many messages arrived."""
        worker = worker or self.worker
        while worker.spread():
            pass
        channels, hooks = worker.due()
        return sum(map(worker.serve_channel, channels)) + sum(map(worker.serve_hook, hooks))

    def messages(self) -> list[NotificationMessage]:
        with Session(self.engine) as db:
            return list(db.scalars(select(NotificationMessage).order_by(NotificationMessage.id)))

    def after(self, **span: float) -> None:
        """Move the clock."""
        self.now += timedelta(**span)
