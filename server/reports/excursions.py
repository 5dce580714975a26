"""Excursions with cause and action: the box's word from the alert, the people's from its moves and photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session, joinedload

from server.models import Alert, AlertMove, Rectification, User
from server.models_life_cycle import RectificationPhoto
from server.reports.document import Action, Excursion

EXCURSIONS_MAX = 1000


def find_excursions(db: Session, box_id: str, sensor_id: str, start: datetime, end: datetime) -> list[Excursion]:
    """The excursions of a sensor that touch the period, in order of time."""
    query = _touching(box_id, sensor_id, start, end).order_by(Alert.opened_at, Alert.id).limit(EXCURSIONS_MAX)
    alerts = list(db.scalars(query))
    actions = _actions(db, [alert.id for alert in alerts])
    return [_excursion(alert, actions.get(alert.id, [])) for alert in alerts]


def span_of_excursions(
    db: Session, box_id: str, sensor_id: str, start: datetime, end: datetime
) -> tuple[datetime, datetime]:
    """The period, widened to the beginning and the end of the excursions that touch it."""
    touching = _touching(box_id, sensor_id, start, end).subquery()
    opened, ended = db.execute(select(func.min(touching.c.opened_at), func.max(touching.c.ended_at))).one()
    return min(start, opened or start), max(end, ended or end)


def _touching(box_id: str, sensor_id: str, start: datetime, end: datetime) -> Select[Alert]:
    return select(Alert).where(
        Alert.box_id == box_id,
        Alert.source_id == sensor_id,
        Alert.kind == "temperature_excursion",
        Alert.opened_at < end,
        or_(Alert.ended_at.is_(None), Alert.ended_at >= start),
    )


def _excursion(alert: Alert, actions: Sequence[Action]) -> Excursion:
    side = alert.data.get("side")
    return Excursion(
        incident_id=alert.incident_id,
        alert_id=alert.id,
        opened_at=alert.opened_at,
        ended_at=alert.ended_at,
        side=side if side in ("high", "low") else "",
        limit_c=number(alert.data.get("limit_c")),
        peak_c=number(alert.data.get("peak_c")),
        state=alert.state,
        causes=causes_of(alert.data),
        causes_said=_phrases(alert.data, "causes_said"),
        said=[] if alert.data.get("causes") else _phrases(alert.data, "said"),
        actions=list(actions),
    )


def _phrases(data: Mapping[str, object], key: str) -> list[str]:
    coded = data.get(key)
    return [str(item) for item in coded] if isinstance(coded, list) else []


def number(value: object) -> float | None:
    """A number that a box sent, or None."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def causes_of(data: Mapping[str, object]) -> list[str]:
    """The root causes that the box named (``causes``, ``cause``), else the reason that it gave."""
    for key in ("causes", "cause", "reason"):
        said = data.get(key)
        if isinstance(said, list) and said:
            return [str(item) for item in said]
        if isinstance(said, str) and said:
            return [said]
    return []


def _actions(db: Session, alert_ids: Sequence[int]) -> dict[int, list[Action]]:
    """What people did, by alert: every move but the box's own, with the photo of a submitted rectification."""
    moves = (
        select(AlertMove)
        .options(joinedload(AlertMove.user))
        .where(AlertMove.alert_id.in_(alert_ids), AlertMove.user_id.is_not(None))
    )
    photos = (  # the first of each rectification
        select(Rectification.alert_id, RectificationPhoto.rectification_id, RectificationPhoto.photo_sha256)
        .join(Rectification, Rectification.id == RectificationPhoto.rectification_id)
        .where(Rectification.alert_id.in_(alert_ids))
    )
    first: dict[tuple[int, int], str] = {}
    for alert_id, rectification_id, photo in db.execute(photos.order_by(RectificationPhoto.id)):
        first.setdefault((alert_id, rectification_id), photo)
    waiting: dict[int, list[str]] = {}
    for (alert_id, _), photo in sorted(first.items()):
        waiting.setdefault(alert_id, []).append(photo)
    found: dict[int, list[Action]] = {}
    for move in db.scalars(moves.order_by(AlertMove.id)):
        user: User | None = move.user
        assert user is not None, "the query asks for moves of people"
        rest = waiting.get(move.alert_id, [])
        photo = rest.pop(0) if move.move == "submit" and rest else ""
        found.setdefault(move.alert_id, []).append(
            Action(at=move.at, by=user.display_name, role=user.role, move=move.move, note=move.note, photo_sha256=photo)
        )
    return found
