"""Tables of the sign-in through a provider of identities: who is whom there, and which log-ins were used."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.models import Base, User


class OidcLink(Base):
    """A person's identity at a provider; one of each provider."""

    __tablename__ = "oidc_link"
    __table_args__ = (UniqueConstraint("issuer", "user_id"),)
    issuer: Mapped[str] = mapped_column(String(300), primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)
    linked_at: Mapped[datetime]
    user: Mapped[User] = relationship(lazy="joined")


class UsedState(Base):
    """The digest of the ``state`` of a log-in that came back: it counts once."""

    __tablename__ = "oidc_used_state"
    state_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)
