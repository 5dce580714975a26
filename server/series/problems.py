"""What a series store will never take, or could not be given, row by row for `series status` and for people."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from sqlalchemy import insert
from sqlalchemy.orm import Session

from server.series.journal import Portion
from server.series.models import SeriesProblem
from server.series.port import Point, Refused

logger = logging.getLogger(__name__)
NAMED_PER_BATCH_MAX = 100
REASON_CHARACTERS_MAX = 512


def record_problems(db: Session, store_name: str, portion: Portion, refused: list[Refused]) -> None:
    """Note within the caller's transaction what of a portion could not be read or was refused."""
    rows = [_problem(batch_id, None, reason) for batch_id, reason in portion.unreadable.items()]
    reasons = dict(refused)
    for batch_id, points in portion.points if reasons else []:
        mine = [point for point in points if point in reasons]
        if len(mine) > NAMED_PER_BATCH_MAX:
            rows.append(_problem(batch_id, None, f"{len(mine)} points refused, the first: {reasons[mine[0]]}"))
        else:
            rows += [_problem(batch_id, point, reasons[point]) for point in mine]
    if rows:
        db.execute(insert(SeriesProblem), [{**row, "store": store_name} for row in rows])
        logger.warning("%s refused something for good: %s", store_name, rows[0]["reason"])


def note_problem(db: Session, store_name: str, batch_id: int, reason: str) -> None:
    """Note one thing about a whole batch."""
    db.execute(insert(SeriesProblem), [{**_problem(batch_id, None, reason), "store": store_name}])
    logger.warning("%s: batch %s: %s", store_name, batch_id, reason)


def _problem(batch_id: int, point: Point | None, reason: str) -> dict[str, object]:
    return {
        "batch_id": batch_id,
        "sensor_id": point.sensor_id if point else None,
        "quantity": point.quantity if point else None,
        "observed_at_ms": point.at_ms if point else None,
        "reason": reason[:REASON_CHARACTERS_MAX],
        "at": datetime.now(UTC),
    }
