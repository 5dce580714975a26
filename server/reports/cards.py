"""Sensor cards: what people state of a sensor, dated and with their name. A new card never rubs out an old one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.models import Alert, Box, User
from server.policy import may
from server.reports.box_limits import read_told_limits, stated_by_box
from server.reports.document import LimitPeriod, Sensor
from server.reports.models import SensorCard


def _finite(value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and -273.15 <= value <= 1000):
        raise ValueError("must be a temperature in °C")
    return value


Celsius = Annotated[float | None, AfterValidator(_finite)]


class CardRefused(Exception):
    """``code`` is ``card_reason`` (it replaces a card and does not say why) or ``not_allowed``."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Card(BaseModel):
    """A card as somebody fills it in; limits in °C, None where there is none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    valid_from: date
    name: Annotated[str, Field(max_length=80)] = ""
    place: Annotated[str, Field(max_length=80)] = ""
    ccp: Annotated[str, Field(max_length=40)] = ""
    serial: Annotated[str, Field(max_length=80)] = ""
    calibrated_on: date | None = None
    calibration_due_on: date | None = None
    offset_c: Celsius = None
    high_c: Celsius = None
    low_c: Celsius = None
    basis: Annotated[str, Field(max_length=160)] = ""
    reason: Annotated[str, Field(max_length=500)] = ""

    @model_validator(mode="after")
    def _ordered(self) -> Card:
        if self.high_c is not None and self.low_c is not None and self.low_c >= self.high_c:
            raise ValueError("the lower limit must be below the upper one")
        if self.calibrated_on and self.calibration_due_on and self.calibration_due_on < self.calibrated_on:
            raise ValueError("the next calibration cannot be due before the last one")
        return self


def add_card(db: Session, user: User, box_id: str, sensor_id: str, card: Card, valid_from: datetime) -> SensorCard:
    """Add a card; raises CardRefused."""
    if not may(user, "report.write"):
        raise CardRefused("not_allowed")
    if cards_of(db, box_id, sensor_id) and not card.reason.strip():
        raise CardRefused("card_reason")
    fields = {**card.model_dump(), "valid_from": valid_from}
    row = SensorCard(
        box_id=box_id, sensor_id=sensor_id, entered_by_id=user.id, entered_at=datetime.now(UTC), **fields
    )  # fmt: skip
    db.add(row)
    db.flush()
    return row


def cards_of(db: Session, box_id: str, sensor_id: str) -> list[SensorCard]:
    """All cards of a sensor, in the order in which they come into force."""
    query = select(SensorCard).where(SensorCard.box_id == box_id, SensorCard.sensor_id == sensor_id)
    return list(db.scalars(query.order_by(SensorCard.valid_from, SensorCard.id)))


def describe_sensor(db: Session, box: Box, sensor_id: str, cards: Sequence[SensorCard], end: datetime) -> Sensor:
    """Who the sensor is at the end of the period; what no card states comes from the box's own words."""
    known = [card for card in cards if card.valid_from < end]
    alert = db.scalar(
        select(Alert).where(Alert.box_id == box.id, Alert.source_id == sensor_id).order_by(Alert.id.desc()).limit(1)
    )
    name, place = (alert.source_name, alert.place) if alert else (sensor_id, "")
    fields = {"box_id": box.id, "box_name": box.name, "sensor_id": sensor_id}
    if not known:
        return Sensor.model_validate({**fields, "name": name, "place": place})
    card = known[-1]
    return Sensor(
        **fields,
        name=card.name or name,
        place=card.place or place,
        ccp=card.ccp,
        serial=card.serial,
        calibrated_on=card.calibrated_on,
        calibration_due_on=card.calibration_due_on,
        offset_c=card.offset_c,
        stated_by=card.entered_by.display_name,
        stated_at=card.entered_at,
    )


def limits_in_force(
    db: Session, box: Box, sensor_id: str, cards: Sequence[SensorCard], start: datetime, end: datetime
) -> list[LimitPeriod]:
    """The limits over the period, without holes: from the cards, else those that the box told or named in alerts."""
    told = read_told_limits(db, box.id, sensor_id, start, end)
    changes = [*(card.valid_from for card in cards), *(limits.at for limits in told)]
    marks = sorted({start, end, *(at for at in changes if start < at < end)})
    found: list[LimitPeriod] = []
    for since, until in pairwise(marks):
        known = [card for card in cards if card.valid_from <= since]
        card = known[-1] if known else None
        if card is None or (card.high_c is None and card.low_c is None):
            by_then = [limits for limits in told if limits.at <= since]
            found.append(stated_by_box(db, box, sensor_id, by_then[-1] if by_then else None, since, until))
            continue
        found.append(
            LimitPeriod(
                since=since, until=until, high_c=card.high_c, low_c=card.low_c, basis=card.basis, source="card",
                stated_by=card.entered_by.display_name,
            )
        )  # fmt: skip
    return found
