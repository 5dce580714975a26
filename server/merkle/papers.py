"""What belongs into the export of a site's days beside batches and alerts: what people signed, kept and entered.

Editions of self-control records and files of reports come with their bytes. An asset comes with every version of it on
record and the words of the newest; of earlier ones the log has digests only, and those of assets that are gone name no
site any more.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, get_args
from zoneinfo import ZoneInfo

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from server.assets.register import SiteAssets, site_assets
from server.assets.sheets import SHEETS, Asset, Sheet
from server.assets.versions import canonical, digest_of
from server.models import Site
from server.models_assets import AssetVersion
from server.models_self_control import RetainedSample, SampleRemoval, SelfControlEdition, SelfControlRecord
from server.reports.models import ReportEntry, ReportFile, SignedReport
from server.self_control.catalogue import Kind
from server.self_control.periods import period_of

if TYPE_CHECKING:
    from server.merkle.bundle import Bundle


def add_papers(db: Session, site: Site, start: datetime, end: datetime, bundle: Bundle) -> None:
    """Everything of the time from *start* to before *end*; a record or report that touches it comes whole."""
    _add_records(db, site, start, end, bundle)
    _add_samples(db, site, start, end, bundle)
    _add_reports(db, site, start, end, bundle)
    _add_assets(db, site_assets(db, site), bundle)


def _add_records(db: Session, site: Site, start: datetime, end: datetime, bundle: Bundle) -> None:
    zone = ZoneInfo(site.time_zone)
    first, last = start.astimezone(zone).date(), (end - timedelta(microseconds=1)).astimezone(zone).date()
    touched = [
        and_(SelfControlRecord.kind == kind, SelfControlRecord.first_day.between(period_of(kind, first).first, last))
        for kind in get_args(Kind)
    ]
    records = select(SelfControlRecord.id).where(SelfControlRecord.site_id == site.id, or_(*touched))
    editions = select(SelfControlEdition).where(SelfControlEdition.record_id.in_(records))
    for row in db.scalars(editions.order_by(SelfControlEdition.record_id, SelfControlEdition.edition)):
        bundle.add_file("self_control", row.id, row.sha256, "records", row.document)


def _add_samples(db: Session, site: Site, start: datetime, end: datetime, bundle: Bundle) -> None:
    taken = (RetainedSample.site_id == site.id, RetainedSample.taken_at >= start, RetainedSample.taken_at < end)
    for number in db.scalars(select(RetainedSample.id).where(*taken).order_by(RetainedSample.id)).all():
        bundle.add("sample", number)
        if db.get(SampleRemoval, number) is not None:
            bundle.add("sample_end", number)


def _add_reports(db: Session, site: Site, start: datetime, end: datetime, bundle: Bundle) -> None:
    touched = (SignedReport.site_id == site.id, SignedReport.start < end, SignedReport.end > start)
    for number in db.scalars(select(SignedReport.id).where(*touched).order_by(SignedReport.id)).all():
        for entry in db.scalars(select(ReportEntry.id).where(ReportEntry.report_id == number).order_by(ReportEntry.id)):
            bundle.add("report", entry)
        for file in db.scalars(select(ReportFile).where(ReportFile.report_id == number).order_by(ReportFile.id)):
            data = bundle.blob(file.sha256)
            if data is not None:
                bundle.add_file("report_file", file.id, file.sha256, "reports", data)


def _add_assets(db: Session, found: SiteAssets, bundle: Bundle) -> None:
    if found.card is not None:
        _add_asset(db, SHEETS["sites"], found.site.id, found.card, bundle)
    for name, items in found.assets.items():
        for item in items:
            _add_asset(db, SHEETS[name], item.id, item, bundle)


def _add_asset(db: Session, sheet: Sheet, number: int, item: Asset, bundle: Bundle) -> None:
    mine = (AssetVersion.sheet == sheet.name, AssetVersion.asset_id == number)
    versions = db.scalars(select(AssetVersion).where(*mine).order_by(AssetVersion.id)).all()
    for version in versions[:-1]:
        bundle.add("asset", version.id)
    for version in versions[-1:]:
        bundle.add_file("asset", version.id, digest_of(sheet, item), "assets", canonical(sheet, item))
