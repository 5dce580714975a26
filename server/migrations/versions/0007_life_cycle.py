"""The life cycle of alerts: levels, deadlines, overdue steps, cards, interviews, dismissals, photos, second looks

Alerts of before keep their deadline and start at the level of their tier; their photos move to a table of their own
and have no likeness, so that they are not compared with later ones.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import server.models

revision = "0007"
down_revision = "0015"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = server.models.UtcDateTime()
# as it was when the tables were made; the rules of today are data in configs/lifecycle
LEVELS = {1: "city", 2: "district", 3: "station"}


def upgrade() -> None:
    _widen_alerts()
    _create_overdue()
    _create_photos()
    op.create_table(
        "dismissal",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("alert_id", NUMBER, sa.ForeignKey("alert.id"), nullable=False, index=True),
        sa.Column("model_sha256", sa.String(64), nullable=False),
        sa.Column("user_id", NUMBER, sa.ForeignKey("user.id"), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("withdrawn_at", TIME, nullable=True),
    )
    op.create_table(
        "recheck",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("alert_id", NUMBER, sa.ForeignKey("alert.id"), nullable=False, index=True),
        sa.Column("rectification_id", NUMBER, sa.ForeignKey("rectification.id"), nullable=False),
        sa.Column("box_id", sa.String(64), sa.ForeignKey("box.id"), nullable=False, index=True),
        sa.Column("way", sa.String(8), nullable=False),
        sa.Column("source_id", sa.String(64), nullable=False),
        sa.Column("zone", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("state", sa.String(12), nullable=False, index=True),
        sa.Column("result", sa.String(12), nullable=False),
        sa.Column("evidence_sha256", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("answered_at", TIME, nullable=True),
    )


def _widen_alerts() -> None:
    with op.batch_alter_table("alert") as alert:
        alert.add_column(sa.Column("level", sa.String(16), nullable=False, server_default="district"))
        for name in ("acknowledge_by_at", "confirm_by_at", "confirmed_at", "next_step_at"):
            alert.add_column(sa.Column(name, TIME, nullable=True))
        alert.add_column(sa.Column("repeat_of_id", NUMBER, nullable=True))
        alert.add_column(sa.Column("repeats", NUMBER, nullable=False, server_default="0"))
        alert.create_foreign_key("fk_alert_repeat_of", "alert", ["repeat_of_id"], ["id"])
    op.create_index("ix_alert_next_step_at", "alert", ["next_step_at"])
    op.create_index("ix_alert_site_source", "alert", ["site_id", "source_id", "kind", "opened_at"])
    for tier, level in LEVELS.items():
        op.execute(sa.text("UPDATE alert SET level = :level WHERE tier = :tier").bindparams(level=level, tier=tier))
    op.execute("UPDATE alert SET next_step_at = deadline_at WHERE state IN ('open', 'acknowledged', 'rejected')")


def _create_overdue() -> None:
    op.create_table(
        "overdue_step",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("alert_id", NUMBER, sa.ForeignKey("alert.id"), nullable=False),
        sa.Column("name", sa.String(16), nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("level_before", sa.String(16), nullable=False),
        sa.Column("level_after", sa.String(16), nullable=False),
        sa.UniqueConstraint("alert_id", "name", "due_at"),
    )
    op.create_table(
        "card",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("site_id", NUMBER, sa.ForeignKey("site.id"), nullable=False, index=True),
        sa.Column("alert_id", NUMBER, sa.ForeignKey("alert.id"), nullable=False),
        sa.Column("colour", sa.String(8), nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.UniqueConstraint("alert_id", "colour"),
    )
    op.create_table(
        "interview",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("site_id", NUMBER, sa.ForeignKey("site.id"), nullable=False, index=True),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("count", NUMBER, nullable=False),
        sa.Column("within_d", NUMBER, nullable=False),
        sa.Column("alert_id", NUMBER, sa.ForeignKey("alert.id"), nullable=False),
        sa.Column("listed_at", TIME, nullable=False),
        sa.Column("held_at", TIME, nullable=True),
        sa.Column("held_by_id", NUMBER, sa.ForeignKey("user.id"), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
    )
    still = sa.text("held_at IS NULL")
    op.create_index(
        "uq_interview_open", "interview", ["site_id", "reason"], unique=True, sqlite_where=still, postgresql_where=still
    )


def _create_photos() -> None:
    op.create_table(
        "rectification_photo",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("rectification_id", NUMBER, sa.ForeignKey("rectification.id"), nullable=False, index=True),
        sa.Column("original_sha256", sa.String(64), nullable=False),
        sa.Column("photo_sha256", sa.String(64), nullable=False, index=True),
        sa.Column("likeness", sa.BigInteger(), nullable=True),
        sa.Column("taken_at", TIME, nullable=True),
        sa.Column("taken_from", sa.String(8), nullable=False),
        sa.Column("latitude", sa.Double(), nullable=True),
        sa.Column("longitude", sa.Double(), nullable=True),
    )
    op.create_table(
        "photo_band",
        sa.Column("photo_id", NUMBER, sa.ForeignKey("rectification_photo.id"), primary_key=True),
        sa.Column("band", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("value", NUMBER, nullable=False),
    )
    op.create_index("ix_photo_band", "photo_band", ["band", "value"])
    op.execute(
        "INSERT INTO rectification_photo (rectification_id, original_sha256, photo_sha256, taken_from) "
        "SELECT id, original_sha256, photo_sha256, '' FROM rectification ORDER BY id"
    )
    with op.batch_alter_table("rectification") as table:
        for name, size in (("person", 80), ("place", 80), ("scene", 200)):
            table.add_column(sa.Column(name, sa.String(size), nullable=False, server_default=""))
        table.drop_column("original_sha256")
        table.drop_column("photo_sha256")


def downgrade() -> None:
    with op.batch_alter_table("rectification") as table:
        for name in ("original_sha256", "photo_sha256"):
            table.add_column(sa.Column(name, sa.String(64), nullable=False, server_default=""))
        for name in ("person", "place", "scene"):
            table.drop_column(name)
    for name in ("original_sha256", "photo_sha256"):
        op.execute(
            f"UPDATE rectification SET {name} = (SELECT {name} FROM rectification_photo "  # noqa: S608 - our own names
            "WHERE rectification_id = rectification.id ORDER BY id LIMIT 1)"
        )
    for name in ("recheck", "dismissal", "photo_band", "rectification_photo", "interview", "card", "overdue_step"):
        op.drop_table(name)
    op.drop_index("ix_alert_site_source", "alert")
    op.drop_index("ix_alert_next_step_at", "alert")
    with op.batch_alter_table("alert") as alert:
        alert.drop_constraint("fk_alert_repeat_of", type_="foreignkey")
        for name in ("repeats", "repeat_of_id", "next_step_at", "confirmed_at", "confirm_by_at", "acknowledge_by_at"):
            alert.drop_column(name)
        alert.drop_column("level")
