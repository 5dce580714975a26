"""Which blobs the record needs: every row that names one, but for those that the retention has purged."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select, union
from sqlalchemy.orm import Session

from server.models import Evidence
from server.models_life_cycle import RectificationPhoto
from server.reports.models import ReportFile
from server.retention.models import Tombstone
from server.rollout.models import Release


def referenced_blobs(db: Session) -> Iterator[str]:
    """Their digests in order, each once."""
    named = union(
        select(Evidence.sha256.label("sha256")),
        select(RectificationPhoto.original_sha256),
        select(RectificationPhoto.photo_sha256),
        select(ReportFile.sha256),
        select(Release.sha256),
        select(Release.model_sha256).where(Release.kind == "model"),
    ).subquery()
    purged = select(Tombstone.id).where(Tombstone.kind == "picture", Tombstone.ref == named.c.sha256)
    query = select(named.c.sha256).where(~purged.exists()).order_by(named.c.sha256)
    yield from db.scalars(query.execution_options(yield_per=1000))
