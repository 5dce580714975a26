"""Versions of assets; self-control records, samples and assets that are on record already wait for their leaf

What stands in the register now becomes its first version: this is what later changes are told from. The spelling of
the digest is that of `server.assets.versions` when this was written.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from alembic import op

from server.models import UtcDateTime

revision = "0017"
down_revision = "0011"
branch_labels = None
depends_on = None
# sheet → table, key, columns of the digest
REGISTER = {
    "sites": ("site_card", "site_id", ("type", "address", "grade")),
    "contacts": ("site_contact", "id", ("role", "person", "phone")),
    "certificates": ("certificate", "id", ("kind", "number", "holder", "identity", "issued_on", "expires_on")),
    "cold_rooms": ("cold_room", "id", ("name", "kind", "filing_number")),
    "sensors": (
        "asset_sensor", "id",
        ("serial", "name", "cold_room", "box_id", "source_id", "calibrated_on", "calibration_due_on",
         "certificate_number", "certificate_expires_on"),
    ),
    "cameras": ("asset_camera", "id", ("name", "place", "box_id", "source_id", "zones")),
}  # fmt: skip
DAYS = {"issued_on", "expires_on", "calibrated_on", "calibration_due_on", "certificate_expires_on"}
NOTED = (
    ("self_control", "self_control_edition", "id"), ("sample", "retained_sample", "id"),
    ("sample_end", "sample_removal", "sample_id"), ("asset", "asset_version", "id"),
)  # fmt: skip
GUARDS = {
    "sqlite": tuple(
        f"CREATE TRIGGER asset_version_{move.lower()} BEFORE {move} ON asset_version "
        "BEGIN SELECT RAISE(ABORT, 'asset_version is only added to'); END"
        for move in ("UPDATE", "DELETE")
    ),
    "postgresql": tuple(
        f"CREATE TRIGGER asset_version_{name} BEFORE {what} EXECUTE FUNCTION brightline_self_control_guard()"
        for name, what in (
            ("guard", "UPDATE OR DELETE ON asset_version FOR EACH ROW"),
            ("truncate", "TRUNCATE ON asset_version"),
        )
    ),
}
ROWS_AT_ONCE = 500


def upgrade() -> None:
    versions = op.create_table(
        "asset_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sheet", sa.String(length=16), nullable=False),
        sa.Column("asset_id", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_asset_version_asset", "asset_version", ["sheet", "asset_id"])
    now, bind = datetime.now(UTC), op.get_bind()
    for sheet, (table, key, names) in REGISTER.items():
        columns: Any = [sa.column(name, sa.Date() if name in DAYS else sa.String()) for name in names]
        query = sa.select(sa.column(key).label("asset"), sa.column("site_id").label("site"), *columns)
        rows = bind.execute(query.select_from(sa.table(table)).order_by(sa.column(key))).mappings().all()
        made = [
            {"sheet": sheet, "asset_id": row["asset"], "at": now, "sha256": _digest(sheet, row, names)} for row in rows
        ]
        for start in range(0, len(made), ROWS_AT_ONCE):
            op.bulk_insert(versions, made[start : start + ROWS_AT_ONCE])
    for kind, table, key in NOTED:
        op.execute(
            f"INSERT INTO log_pending (kind, ref) SELECT '{kind}', CAST({key} AS VARCHAR(64)) FROM {table} "  # noqa: S608 - constants
            f"ORDER BY {key}"
        )
    for statement in GUARDS.get(bind.dialect.name, ()):
        op.execute(statement)


def _digest(sheet: str, row: Any, names: tuple[str, ...]) -> str:
    said = {name: row[name].isoformat() if isinstance(row[name], date) else row[name] for name in names}
    said = {name: value for name, value in said.items() if value not in (None, "")}
    text = json.dumps([sheet, row["site"], said], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()


def downgrade() -> None:
    """The leaves stay in the log, which is never shortened: `verify` of the older version names them as unknown."""
    postgres = op.get_bind().dialect.name == "postgresql"
    for kind, table, _ in NOTED:
        op.execute(f"DROP TRIGGER IF EXISTS log_{kind}" + (f" ON {table}" if postgres else ""))
        if postgres:
            op.execute(f"DROP FUNCTION IF EXISTS brightline_log_{kind}()")
    op.drop_table("asset_version")
