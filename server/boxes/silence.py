"""A box that stops speaking is an alert, which ends when it speaks again.

What always holds: one alert for each silence, however many replicas look, because a look is one writing transaction
that holds the row of `CentreWatch`. A time in which nobody looked counts for no box: the centre itself was down then,
and every box gets the whole bound anew. Other vendors' systems and revoked boxes are not waited for, third-party
gateways only where a token of their site says so: many write when they like.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Engine, and_, func, not_, or_, select
from sqlalchemy.orm import Session

from server.audit import SYSTEM, note
from server.background import background
from server.boxes.commands import expire
from server.boxes.keys import GATEWAY
from server.boxes.settings import BoxSettings
from server.database import writing
from server.ingest import open_alert
from server.life_cycle.record import tell
from server.live import Change
from server.models import Alert, Box
from server.models_access import ApiToken
from server.models_boxes import BoxSilence, CentreWatch
from server.models_notification import VendorSource
from telemetry.messages import Event

logger = logging.getLogger(__name__)
KIND = "box_silent"
AUDIT_ACTION = "box.silent"
DOWN_LOOKS = 4  # so many looks left out mean that the centre was down
AT_ONCE_MAX = 200


def look(db: Session, settings: BoxSettings, now: datetime) -> list[Alert]:
    """One look at all boxes, in the caller's writing transaction; gives the alerts that were raised or ended."""
    watch = db.scalars(select(CentreWatch).where(CentreWatch.id == 1).with_for_update()).one()
    gap_max = timedelta(seconds=DOWN_LOOKS * settings.look_s)
    if watch.looked_at is None or watch.listening_since is None or not timedelta(0) <= now - watch.looked_at <= gap_max:
        watch.listening_since = now
    watch.looked_at = now
    alerts = _end_those_that_spoke(db, now)
    expire(db, now)
    silent_before = now - timedelta(seconds=settings.silent_after_s)
    if watch.listening_since <= silent_before:
        alerts += [_begin(db, box) for box in _fallen_silent(db, silent_before, now)]
    db.flush()
    return alerts


def _waited_for(now: datetime) -> ColumnElement[bool]:
    watching = select(ApiToken.site_id).where(
        ApiToken.watched, ApiToken.site_id.is_not(None), ApiToken.revoked_at.is_(None), ApiToken.expires_at > now
    )
    gateway = Box.id.startswith(GATEWAY, autoescape=True)
    return and_(Box.revoked_at.is_(None), or_(not_(gateway), Box.site_id.in_(watching)))


def _fallen_silent(db: Session, silent_before: datetime, now: datetime) -> Sequence[Box]:
    spoke_at = func.coalesce(Box.last_seen_at, Box.enrolled_at)
    query = (
        select(Box)
        .where(spoke_at < silent_before, _waited_for(now))
        .where(Box.id.not_in(select(BoxSilence.box_id)), Box.id.not_in(select(VendorSource.box_id)))
        .order_by(Box.id)
        .limit(AT_ONCE_MAX)
    )
    return db.scalars(query).all()


def _begin(db: Session, box: Box) -> Alert:
    incident_id = uuid.uuid4().hex
    since = box.last_seen_at or box.enrolled_at
    db.add(BoxSilence(box_id=box.id, incident_id=incident_id, silent_since=since))
    told = Event(
        event_id=incident_id, incident_id=incident_id, type="box_status", severity="warning", source_id=box.id,
        at=since, data={"kind": KIND, "sensor_name": box.name},
    )  # fmt: skip
    alert = open_alert(db, box, told)
    note(db, SYSTEM, AUDIT_ACTION, ("box", box.id), {"incident_id": incident_id}, site_id=box.site_id)
    return alert


def _end_those_that_spoke(db: Session, now: datetime) -> list[Alert]:
    query = (
        select(BoxSilence, Box, Alert)
        .join(Box, Box.id == BoxSilence.box_id)
        .join(Alert, and_(Alert.incident_id == BoxSilence.incident_id, Alert.box_id == BoxSilence.box_id))
        .where((Box.last_seen_at > BoxSilence.silent_since) | not_(_waited_for(now)))
        .limit(AT_ONCE_MAX)
    )
    ended = []
    for silence, box, alert in db.execute(query).all():
        spoke = box.last_seen_at is not None and box.last_seen_at > silence.silent_since
        alert.ended_at = box.last_seen_at if spoke else box.revoked_at or now
        db.delete(silence)
        action = "box.speaks" if spoke else "box.not_waited_for"
        note(db, SYSTEM, action, ("box", box.id), {"incident_id": silence.incident_id}, site_id=box.site_id)
        tell(db, alert, "end")
        ended.append(alert)
    return ended


def utc_now() -> datetime:
    return datetime.now(UTC)


class SilenceWatch:
    """Looks for as long as the server runs; *publish* tells open pages what changed."""

    def __init__(
        self,
        engine: Engine,
        settings: BoxSettings,
        publish: Callable[[Sequence[Change]], None],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._publish = publish
        self._clock = clock
        self._failing = False

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with Session(writing(self._engine), expire_on_commit=False) as db, db.begin():
            yield db

    def look(self) -> None:
        """One look; what went wrong is told once and tried again at the next."""
        try:
            with self._transaction() as db:
                changes = [Change.of(alert) for alert in look(db, self._settings, self._clock())]
        except Exception as error:  # noqa: BLE001 - the supervisor of this task: any fault becomes a retry
            if not self._failing:
                logger.error("silent boxes are not looked for, something failed here: %s", type(error).__name__)
            self._failing = True
            return
        self._failing = False
        self._publish(changes)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run while entered."""
        async with background(self._run(), "silent boxes"):
            yield

    async def _run(self) -> None:
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(self._settings.look_s)
