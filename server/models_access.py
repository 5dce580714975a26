"""Tables of how people and programs get in: tokens, second factors, and answers to repeat."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.models import Base, Region, Site, User


class ApiToken(Base):
    """A program's key, with some permissions of its owner; only its digest is kept."""

    __tablename__ = "api_token"
    id: Mapped[int] = mapped_column(primary_key=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)
    permissions: Mapped[list[str]] = mapped_column(JSON)
    site_id: Mapped[int | None] = mapped_column(ForeignKey("site.id"))
    region_id: Mapped[int | None] = mapped_column(ForeignKey("region.id"))
    watched: Mapped[bool] = mapped_column(default=False)  # whether the silence of its site's gateways is an alert
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    user: Mapped[User] = relationship(lazy="joined")
    site: Mapped[Site | None] = relationship(lazy="joined")
    region: Mapped[Region | None] = relationship(lazy="joined")


class TotpSecret(Base):
    """A person's second factor (RFC 6238), sealed; ``last_step`` is the newest step that a code was taken of."""

    __tablename__ = "totp_secret"
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
    sealed: Mapped[bytes]
    confirmed_at: Mapped[datetime | None]
    last_step: Mapped[int] = mapped_column(BigInteger, default=0)


class RecoveryCode(Base):
    """A one-time code for who has lost the second factor; only its digest is kept."""

    __tablename__ = "recovery_code"
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
    code_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    used_at: Mapped[datetime | None]


class StoredAnswer(Base):
    """The answer to a request with an ``Idempotency-Key``; without a status the request is still under way."""

    __tablename__ = "stored_answer"
    key_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    request_sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes]
    expires_at: Mapped[datetime] = mapped_column(index=True)
