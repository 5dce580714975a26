"""Reads for the lists of the life cycle: cards, the interview list, false alarms by model, and what a list can be
narrowed to. Every one is cut to what the person may see."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from server.models import Alert, Region, User
from server.models_life_cycle import Card, Dismissal, Interview
from server.scope import reach_of, region_within, within

ROWS_MAX = 200


@dataclass(frozen=True)
class FalseAlarms:
    """Of one model (by its digest): how many alerts it raised and how many of them were dismissed."""

    model_sha256: str
    alerts: int
    dismissed: int


def list_cards(db: Session, viewer: User, colour: str | None = None, before: int | None = None) -> list[Card]:
    """The newest cards first; *before* is the id to go on from."""
    query = select(Card).options(joinedload(Card.site), joinedload(Card.alert)).where(within(viewer, Card.site_id))
    if colour is not None:
        query = query.where(Card.colour == colour)
    if before is not None:
        query = query.where(Card.id < before)
    return list(db.scalars(query.order_by(Card.id.desc()).limit(ROWS_MAX)))


def list_interviews(
    db: Session, viewer: User, *, still_open: bool | None = None, before: int | None = None
) -> list[Interview]:
    """The newest entries of the interview list first; open ones or held ones only, or both."""
    query = (
        select(Interview)
        .options(joinedload(Interview.site), joinedload(Interview.held_by))
        .where(within(viewer, Interview.site_id))
    )
    if still_open is not None:
        query = query.where(Interview.held_at.is_(None) if still_open else Interview.held_at.is_not(None))
    if before is not None:
        query = query.where(Interview.id < before)
    return list(db.scalars(query.order_by(Interview.id.desc()).limit(ROWS_MAX)))


def find_interview(db: Session, viewer: User, interview_id: int) -> Interview | None:
    """An entry of the list that this person may see."""
    return db.scalar(select(Interview).where(Interview.id == interview_id, within(viewer, Interview.site_id)))


def false_alarms(db: Session, viewer: User) -> list[FalseAlarms]:
    """Of every model that raised an alert within reach, the most dismissed first."""
    model = Alert.data["model_sha256"].as_string()
    standing = (
        select(Dismissal.alert_id).where(Dismissal.withdrawn_at.is_(None)).distinct().subquery()
    )  # an alert counts once, however often it was dismissed
    query = (
        select(model, func.count(), func.count(standing.c.alert_id))
        .select_from(Alert)
        .outerjoin(standing, standing.c.alert_id == Alert.id)
        .where(within(viewer, Alert.site_id), model.is_not(None))
        .group_by(model)
        .order_by(func.count(standing.c.alert_id).desc(), model)
        .limit(ROWS_MAX)
    )
    return [FalseAlarms(*row) for row in db.execute(query)]


def regions_within_reach(db: Session, viewer: User) -> list[Region]:
    """The regions that this person may narrow a list to, in the order of the tree."""
    path = reach_of(viewer).region_path
    if path is None:
        return []
    return list(db.scalars(select(Region).where(region_within(path)).order_by(Region.path).limit(ROWS_MAX)))
