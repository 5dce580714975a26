"""Which blobs the record needs: every row that names one, but for those that the retention has purged."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select, union
from sqlalchemy.orm import Session

from server.models import Evidence
from server.models_life_cycle import RectificationPhoto
from server.retention.purged import is_purged, never_purged


def referenced_blobs(db: Session) -> Iterator[str]:
    """Their digests in order, each once."""
    pictures = union(
        select(Evidence.sha256.label("sha256")),
        select(RectificationPhoto.original_sha256),
        select(RectificationPhoto.photo_sha256),
    ).subquery()
    purged = is_purged("picture", pictures.c.sha256)
    named = union(select(pictures.c.sha256).where(~purged), *never_purged()).subquery()
    query = select(named.c.sha256).order_by(named.c.sha256)
    yield from db.scalars(query.execution_options(yield_per=1000))
