"""Who may do what: one table of roles and permissions. Pure; where somebody may do it is `server.scope`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

Role = Literal[
    "staff", "safety_officer", "safety_director", "site_head", "viewer", "regulator", "auditor", "administrator"
]
Permission = Literal[
    "alert.read",
    "alert.acknowledge",
    "alert.rectify",
    "alert.review",
    "alert.dismiss",
    "alert.hold",
    "alert.push",
    "audit.read",
    "box.command",
    "box.manage",
    "box.read",
    "evidence.blurred",
    "evidence.sealed",
    "evidence.view",
    "readings.write",
    "report.correct",
    "report.read",
    "report.review",
    "report.sign",
    "report.write",
    "selfcontrol.read",
    "selfcontrol.sign",
    "selfcontrol.write",
    "site.edit",
    "site.read",
    "statistics.read",
    "token.manage",
    "user.manage",
]
ROLES: tuple[Role, ...] = get_args(Role)
PERMISSIONS: tuple[Permission, ...] = get_args(Permission)
# what is done by a person in the browser only: a token that leaks cannot make others or accounts
PEOPLE_ONLY: frozenset[Permission] = frozenset({"token.manage", "user.manage"})
SITE_ROLES: frozenset[str] = frozenset({"staff", "safety_officer", "safety_director", "site_head", "viewer"})

_SEE: frozenset[Permission] = frozenset({"alert.read", "evidence.blurred", "site.read", "statistics.read"})
_READ: frozenset[Permission] = _SEE | {"evidence.view", "report.read", "selfcontrol.read"}
_WORK: frozenset[Permission] = _READ | {
    "alert.acknowledge", "alert.rectify", "report.write", "report.sign", "report.review", "report.correct",
    "selfcontrol.write",
}  # fmt: skip
# evidence.blurred: pictures in which the box hid the faces; evidence.sealed: the originals, every opening is logged
TABLE: dict[Role, frozenset[Permission]] = {
    "staff": _WORK,
    "safety_officer": _WORK | {"box.read", "selfcontrol.sign", "site.edit"},
    "safety_director": _WORK | {"box.read", "selfcontrol.sign", "site.edit"},
    "site_head": _WORK | {"box.read", "selfcontrol.sign", "site.edit"},
    "viewer": _SEE | {"alert.push"},
    "regulator": _READ
    | {
        "alert.acknowledge", "alert.review", "alert.dismiss", "alert.hold", "alert.push", "box.read", "box.command",
        "evidence.sealed", "report.review", "report.correct", "token.manage",
    },
    "auditor": _READ | {"audit.read", "box.read"},
    "administrator": _SEE
    | {
        "alert.hold", "audit.read", "box.command", "box.manage", "box.read", "evidence.view", "readings.write",
        "site.edit", "token.manage", "user.manage",
    },
}  # fmt: skip


class Holder(Protocol):
    """Whoever has a role; `server.models.User` is one."""

    role: str


@dataclass(frozen=True)
class Cut:
    """What an API token leaves of its owner's role: some permissions; one site, or all under a region's path."""

    token_id: int
    token_name: str
    permissions: frozenset[str]
    site_id: int | None = None
    region_path: str | None = None


class CutRole(str):
    """The role of a token's owner as the token has it: equal to the role, but `role_may` and `reach_of` cut it."""

    cut: Cut

    def __new__(cls, role: str, cut: Cut) -> CutRole:
        made = super().__new__(cls, role)
        made.cut = cut
        return made


def cut_of(role: str) -> Cut | None:
    """The cut of a token's role; None for a person's."""
    return role.cut if isinstance(role, CutRole) else None


def role_may(role: str, permission: Permission) -> bool:
    """Whether the role has the permission; an unknown role has none."""
    cut = cut_of(role)
    if cut is not None and permission not in cut.permissions:
        return False
    return any(known == role and permission in permissions for known, permissions in TABLE.items())


def may(user: Holder, permission: Permission) -> bool:
    """Whether this person's role has the permission."""
    return role_may(user.role, permission)
