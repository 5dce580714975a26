"""The tables of assets: which columns each has, what a row is known by, and where it is kept. One description serves
import, export, templates, forms and pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from server.assets.cells import Column
from server.i18n import LANGUAGES, translate
from server.models_assets import AssetCamera, AssetSensor, Certificate, ColdRoom, Contact, SiteCard

Asset: TypeAlias = SiteCard | Contact | Certificate | ColdRoom | AssetSensor | AssetCamera
SITE_TYPES = ("school", "university", "company", "hospital", "care_home", "central_kitchen", "restaurant", "cold_store")
CONTACT_ROLES = ("legal_person", "site_head", "safety_director", "safety_officer", "chef", "technician")
SITE = Column("site", required=True, characters_max=120)


@dataclass(frozen=True)
class Sheet:
    """One table. The natural key of a row is its site and *key*; *extra* is kept elsewhere than in *model*."""

    name: str
    model: type[Asset]
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    extra: tuple[str, ...] = ()

    @property
    def all_columns(self) -> tuple[Column, ...]:
        return (SITE, *self.columns)

    @property
    def kept(self) -> tuple[Column, ...]:
        """The columns of *model*."""
        return tuple(column for column in self.columns if column.name not in self.extra)

    def titles(self, column: Column) -> set[str]:
        """Every heading under which a column is known, in small letters."""
        return {column.name, *(translate(language, heading(column.name)).casefold() for language in LANGUAGES)}


def heading(column: str) -> str:
    """The key of a column's heading."""
    return f"asset_{column}"


_ROOM = Column("cold_room")
_BOX = (Column("box_id", characters_max=64), Column("source_id", characters_max=64))
SHEETS: dict[str, Sheet] = {
    sheet.name: sheet
    for sheet in (
        Sheet(
            "sites", SiteCard, (),
            (
                Column("region", characters_max=330), Column("time_zone", "zone", characters_max=64),
                Column("type", "choice", choices=SITE_TYPES), Column("address", characters_max=200),
                Column("grade", "choice", choices=("A", "B", "C")),
            ),
            extra=("region", "time_zone"),
        ),
        Sheet(
            "contacts", Contact, ("role", "person"),
            (
                Column("role", "choice", required=True, choices=CONTACT_ROLES),
                Column("person", required=True, characters_max=40, masked="name"),
                Column("phone", "phone", characters_max=32, masked="phone"),
            ),
        ),
        Sheet(
            "certificates", Certificate, ("kind", "number"),
            (
                Column("kind", "choice", required=True, choices=("licence", "health")),
                Column("number", required=True, characters_max=64, masked="number"),
                Column("holder", required=True, masked="name"),
                Column("identity", "identity", characters_max=18, masked="identity"),
                Column("issued_on", "date"), Column("expires_on", "date", required=True),
            ),
        ),
        Sheet(
            "cold_rooms", ColdRoom, ("name",),
            (
                Column("name", required=True), Column("kind", "choice", choices=("chilled", "frozen", "cool")),
                Column("filing_number", characters_max=64),
            ),
        ),
        Sheet(
            "sensors", AssetSensor, ("serial",),
            (
                Column("serial", required=True), Column("name"), _ROOM, *_BOX, Column("calibrated_on", "date"),
                Column("calibration_due_on", "date"), Column("certificate_number", characters_max=64),
                Column("certificate_expires_on", "date"),
            ),
        ),
        Sheet(
            "cameras", AssetCamera, ("name",),
            (Column("name", required=True), Column("place"), *_BOX, Column("zones", "names", characters_max=400)),
        ),
    )
}  # fmt: skip
