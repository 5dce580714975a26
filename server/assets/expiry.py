"""Papers that run out: an alert 30 days ahead in the site's time, ended when the paper is renewed or gone.

An alert's incident is named after the paper and its last day, so that each is told of once, however often and by
however many replicas this runs. Such an alert has no box; the audit log proves it instead of a signed batch.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from server.assets.masking import mask_name
from server.assets.register import IDS_PER_QUERY, WARN_DAYS, local_day
from server.audit import SYSTEM, Deed, note_all
from server.life_cycle.raising import raise_alert
from server.life_cycle.record import tell
from server.life_cycle.rules import rules_in_force
from server.models import Alert, Site
from server.models_assets import AssetSensor, Certificate
from server.models_audit import AuditEntry

KIND = "licence_expiry"
ALERTS_AT_ONCE_MAX = 1_000


@dataclass(frozen=True)
class Paper:
    """Something with a last day: a licence, a health certificate, a calibration or a sensor's certificate."""

    site: Site
    kind: str
    number: str
    name: str
    expires_on: date

    @property
    def incident_id(self) -> str:
        known = json.dumps([self.site.id, self.kind, self.number, self.expires_on.isoformat()])
        return f"expiry-{sha256(known.encode()).hexdigest()[:48]}"

    @property
    def source_id(self) -> str:
        """The paper whatever its last day."""
        known = json.dumps([self.site.id, self.kind, self.number])
        return f"{self.kind}-{sha256(known.encode()).hexdigest()[:24]}"


def settle(db: Session, now: datetime, site_ids: Collection[int] | None = None) -> list[Alert]:
    """Raise what is due and end what is over, at these sites or at all, in the caller's writing transaction.

    Gives the alerts that changed; of new ones at most ALERTS_AT_ONCE_MAX, the next call goes on.
    """
    due = {paper.incident_id: paper for paper in _due(db, now, site_ids)}
    known = _alerts(db, sorted(due))
    fresh = [paper for incident_id, paper in due.items() if incident_id not in known][:ALERTS_AT_ONCE_MAX]
    changed = _raise(db, fresh, now)
    for alert in known.values():
        if alert.ended_at is not None and alert.state != "closed":
            alert.ended_at = None  # the paper was taken out and stands there again
            changed.append(alert)
    going_on = select(Alert).where(Alert.box_id.is_(None), Alert.kind == KIND, Alert.ended_at.is_(None))
    if site_ids is not None:
        going_on = going_on.where(Alert.site_id.in_(site_ids))
    over: list[Alert] = []
    for alert in db.scalars(going_on):
        if alert.incident_id not in due:
            alert.ended_at = now
            over.append(alert)
    db.flush()
    note_all(db, SYSTEM, [Deed("alert.end", ("alert", alert.id), {}, alert.site_id) for alert in over])
    for alert in over:
        tell(db, alert, "end")
    return changed + over


def _due(db: Session, now: datetime, site_ids: Collection[int] | None) -> Iterator[Paper]:
    """Papers whose warning has begun, by the day at their site."""
    latest = now.astimezone(UTC).date() + timedelta(days=WARN_DAYS + 1)  # no zone is further ahead
    for paper in (*_certificates(db, latest, site_ids), *_sensor_papers(db, latest, site_ids)):
        if local_day(paper.site, now) >= paper.expires_on - timedelta(days=WARN_DAYS):
            yield paper


def _at(column: InstrumentedAttribute[int], site_ids: Collection[int] | None) -> Sequence[ColumnElement[bool]]:
    return [] if site_ids is None else [column.in_(site_ids)]


def _certificates(db: Session, latest: date, site_ids: Collection[int] | None) -> Iterator[Paper]:
    query = select(Certificate, Site).join(Site, Site.id == Certificate.site_id)
    query = query.where(Certificate.expires_on <= latest, *_at(Certificate.site_id, site_ids))
    for item, site in db.execute(query.order_by(Certificate.id)):
        name = item.holder if item.kind == "licence" else mask_name(item.holder)
        yield Paper(site, item.kind, item.number, name, item.expires_on)


def _sensor_papers(db: Session, latest: date, site_ids: Collection[int] | None) -> Iterator[Paper]:
    query = select(AssetSensor, Site).join(Site, Site.id == AssetSensor.site_id)
    soon = or_(AssetSensor.calibration_due_on <= latest, AssetSensor.certificate_expires_on <= latest)
    query = query.where(soon, *_at(AssetSensor.site_id, site_ids)).order_by(AssetSensor.id)
    for item, site in db.execute(query):
        name = item.name or item.serial
        if item.calibration_due_on is not None and item.calibration_due_on <= latest:
            yield Paper(site, "calibration", item.serial, name, item.calibration_due_on)
        if item.certificate_expires_on is not None and item.certificate_expires_on <= latest:
            yield Paper(site, "sensor_certificate", item.serial, name, item.certificate_expires_on)


def _alerts(db: Session, incident_ids: list[str]) -> dict[str, Alert]:
    found: dict[str, Alert] = {}
    for start in range(0, len(incident_ids), IDS_PER_QUERY):
        part = incident_ids[start : start + IDS_PER_QUERY]
        query = select(Alert).where(Alert.incident_id.in_(part), Alert.box_id.is_(None))
        found |= {alert.incident_id: alert for alert in db.scalars(query)}
    return found


def _raise(db: Session, papers: Sequence[Paper], now: datetime) -> list[Alert]:
    """An alert for each paper, with its first move, its entry in the audit log and its notices."""
    alerts = [_alert(paper, now) for paper in papers]
    deeds = []
    for alert in alerts:
        raise_alert(db, alert, rules_in_force(), now)
        detail = {"incident": alert.incident_id, "kind": KIND, "expires_on": alert.data["expires_on"]}
        deeds.append(Deed("alert.raise", ("alert", alert.id), detail, alert.site_id))
    note_all(db, SYSTEM, deeds)
    return alerts


def _alert(paper: Paper, now: datetime) -> Alert:
    """The alert before the rules give it its tier and deadlines."""
    said = {"name": paper.name, "day": paper.expires_on.isoformat()}
    data: dict[str, Any] = {
        "kind": KIND, "paper": paper.kind, "name": paper.name, "expires_on": paper.expires_on.isoformat(),
        "said": [json.dumps([f"expiry_{paper.kind}", said], ensure_ascii=False)],
    }  # fmt: skip
    return Alert(
        incident_id=paper.incident_id, site_id=paper.site.id, box_id=None, kind=KIND,
        source_id=paper.source_id, source_name=paper.name[:80], place="", opened_at=now, ended_at=None, data=data,
    )  # fmt: skip


def verify_warnings(db: Session) -> list[str]:
    """What is wrong with the alerts that no box raised: each is in the audit log as it stands, and none is gone."""
    entries = db.execute(
        select(AuditEntry.object_id, AuditEntry.detail).where(
            AuditEntry.action == "alert.raise", AuditEntry.actor_kind == "system"
        )
    )
    noted = {object_id: (detail.get("incident"), detail.get("kind")) for object_id, detail in entries}
    query = select(Alert.id, Alert.incident_id, Alert.kind).where(Alert.box_id.is_(None))
    stored = {str(row.id): (row.incident_id, row.kind) for row in db.execute(query)}
    problems = [
        f"alert {number}: the audit log tells of it, and it is gone" for number in sorted(noted.keys() - stored.keys())
    ]
    for number, said in stored.items():
        if noted.get(number) != said:
            problems.append(f"alert {number}: no box raised it, and the audit log does not tell of it so")
    return problems
