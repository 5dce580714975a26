"""Which tables are sealed, and how the digest of a row is made.

A column that changes all the time and proves nothing is left out, with the reason. The digest covers the columns that
are not NULL: one that a later version of this program adds, still empty, changes none. A migration that fills one
asks for new seals (`server.seals.sealing.seal_anew`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cached_property
from hashlib import sha256
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Select, Table, bindparam, select, tuple_, type_coerce
from sqlalchemy.orm import class_mapper
from sqlalchemy.types import NullType

from server.models import Alert, Base, Box, EnrolmentCode, Region, Site, User
from server.models_access import ApiToken, RecoveryCode, TotpSecret
from server.models_assets import SiteCard
from server.models_boxes import BoxCommand, BoxKey
from server.models_keys import KeyPrint
from server.models_life_cycle import Card, Dismissal, Interview, OverdueStep, Recheck, RectificationPhoto
from server.models_notification import AlertChange, NotificationChannel, VendorEvent, VendorSource, WebhookSkip
from server.models_oidc import OidcLink
from server.models_self_control import SelfControlRecord
from server.reports.models import ReportEntry, ReportFile, SensorCard, SignedReport
from server.retention.models import LegalHold
from server.rollout.models import Release, Rollout, RolloutBox

Key = tuple[Any, ...]
# the columns that are left out, by their table: counters and leases of a moment, which tell nothing of the past
LEFT_OUT: dict[type[Base], tuple[str, ...]] = {
    User: ("failed_logins", "locked_until"),  # every log-in changes them
    Box: ("last_seen_at",),  # every batch changes it, and the newest one tells it
    ApiToken: ("last_used_at",),
    TotpSecret: ("last_step",),
    AlertChange: ("position",),  # its place in the feed, given later
    NotificationChannel: ("lease_by", "lease_until", "held_until", "failures", "paused_until"),
}
MODELS: tuple[type[Base], ...] = (
    Region, Site, User, ApiToken, TotpSecret, RecoveryCode, OidcLink, KeyPrint,
    EnrolmentCode, Box, BoxKey, BoxCommand, Release, Rollout, RolloutBox,
    Alert, AlertChange, OverdueStep, Card, Interview, Dismissal, Recheck, RectificationPhoto,
    NotificationChannel, WebhookSkip, VendorSource, VendorEvent,
    SelfControlRecord, SensorCard, SignedReport, ReportEntry, ReportFile, SiteCard, LegalHold,
)  # fmt: skip


@dataclass(frozen=True)
class SealedTable:
    """A table, its key, and the columns that are sealed."""

    model: type[Base]
    table: Table
    key: tuple[ColumnElement[Any], ...]
    names: frozenset[str]

    @property
    def name(self) -> str:
        return self.table.name

    @cached_property
    def watched(self) -> frozenset[str]:
        """The attributes whose change may change a sealed column."""
        return self.names | set(class_mapper(self.model).relationships.keys())

    def rows(self) -> Select[Any]:
        """Its rows by their keys: key and sealed columns, as the driver gives them, so that damage can be read too."""
        raw = [type_coerce(self.table.c[name], NullType()).label(name) for name in sorted(self.names)]
        return select(*self.key, *raw).order_by(*self.key)

    def cut_to(self, present: Iterable[str]) -> SealedTable:
        """The same with the columns alone that a record has so far which is being migrated."""
        return replace(self, names=self.names.intersection(present))

    @cached_property
    def _among(self) -> Select[Any]:
        one = self.key[0] if len(self.key) == 1 else tuple_(*self.key)
        return self.rows().where(one.in_(bindparam("wanted", expanding=True)))

    def digests(self, connection: Connection, keys: Sequence[Key]) -> dict[str, str]:
        """The digests of the rows with these keys as the database holds them; a row that is not there is left out."""
        wanted = [key[0] for key in keys] if len(self.key) == 1 else list(keys)
        rows = connection.execute(self._among, {"wanted": wanted})
        return dict(self.ref_and_digest(row) for row in rows)

    def ref_and_digest(self, row: Sequence[Any]) -> tuple[str, str]:
        """Of a row that `rows` gave."""
        width = len(self.key)
        return ref_of(row[:width]), self.digest(dict(zip(sorted(self.names), row[width:], strict=True)))

    def digest(self, said: dict[str, Any]) -> str:
        """SHA-256 of table and columns, as JSON: keys sorted, no spaces, NULL left out, bytes by their own digest."""
        fields = {name: _plain(value) for name, value in said.items() if value is not None}
        text = json.dumps([self.name, fields], sort_keys=True, separators=(",", ":"))
        return sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC).isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    return sha256(value).hexdigest() if isinstance(value, bytes) else value


def ref_of(key: Iterable[Any]) -> str:
    """A key as it stands in a seal."""
    return json.dumps(list(key), ensure_ascii=False, separators=(",", ":"))


def key_of(ref: str) -> Key:
    """The key that `ref_of` wrote; of a damaged one an empty key, which no row has."""
    try:
        found = json.loads(ref)
    except ValueError:
        return ()
    return tuple(found) if isinstance(found, list) and all(isinstance(part, str | int) for part in found) else ()


def _sealed(model: type[Base]) -> SealedTable:
    table = cast(Table, model.__table__)
    names = frozenset(column.name for column in table.columns) - set(LEFT_OUT.get(model, ()))
    return SealedTable(model, table, tuple(table.primary_key.columns), names)


BY_MODEL: dict[type, SealedTable] = {model: _sealed(model) for model in MODELS}
BY_NAME: dict[str, SealedTable] = {sealed.name: sealed for sealed in BY_MODEL.values()}
