"""Sites' cards, contacts, certificates, cold rooms, sensors, cameras; alerts that no box raised

The centre itself raises an alert when a certificate expires: such an alert has no box.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

import server.models

revision = "0012"
down_revision = "0010"
branch_labels = None
depends_on = None


def _text(name: str, length: int) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length=length), nullable=False)


def _day(name: str, *, nullable: bool = True) -> sa.Column[Any]:
    return sa.Column(name, sa.Date(), nullable=nullable)


def _create(name: str, key: tuple[str, ...], *columns: sa.Column[Any]) -> None:
    """A table of things that belong to a site and are known there by *key*."""
    op.create_table(
        name,
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        *columns,
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("site_id", *key),
    )


def upgrade() -> None:
    with op.batch_alter_table("alert") as alert:
        alert.alter_column("box_id", existing_type=sa.String(length=64), nullable=True)
    op.create_table(
        "site_card",
        sa.Column("site_id", sa.Integer(), autoincrement=False, nullable=False),
        _text("type", 24), _text("address", 200), _text("grade", 1),
        sa.Column("public_token", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.PrimaryKeyConstraint("site_id"),
        sa.UniqueConstraint("public_token"),
    )  # fmt: skip
    _create("site_contact", ("role", "person"), _text("role", 24), _text("person", 40), _text("phone", 32))
    _create(
        "certificate", ("kind", "number"), _text("kind", 16), _text("number", 64), _text("holder", 80),
        _text("identity", 18), _day("issued_on"), _day("expires_on", nullable=False),
    )  # fmt: skip
    op.create_index("ix_certificate_expires_on", "certificate", ["expires_on"])
    _create("cold_room", ("name",), _text("name", 80), _text("kind", 16), _text("filing_number", 64))
    _create(
        "asset_sensor", ("serial",), _text("serial", 80), _text("name", 80), _text("cold_room", 80),
        _text("box_id", 64), _text("source_id", 64), _day("calibrated_on"), _day("calibration_due_on"),
        _text("certificate_number", 64), _day("certificate_expires_on"),
    )  # fmt: skip
    _create(
        "asset_camera", ("name",), _text("name", 80), _text("place", 80), _text("box_id", 64), _text("source_id", 64),
        _text("zones", 400),
    )  # fmt: skip
    op.create_table(
        "asset_draft",
        _text("token", 32),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("made_at", server.models.UtcDateTime(), nullable=False),
        _text("digest", 64),
        sa.Column("rows", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"]),
        sa.PrimaryKeyConstraint("token"),
    )
    op.create_index("ix_asset_draft_made_at", "asset_draft", ["made_at"])


def downgrade() -> None:
    """The alerts of certificates stay in the record, so that the box of an alert stays optional."""
    for name in (
        "asset_draft", "asset_camera", "asset_sensor", "cold_room", "certificate", "site_contact", "site_card",
    ):  # fmt: skip
        op.drop_table(name)
