"""Who may do what: one table of roles and permissions. Pure; where somebody may do it is `server.scope`."""

from __future__ import annotations

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
    "alert.push",
    "audit.read",
    "box.command",
    "box.manage",
    "box.read",
    "evidence.blurred",
    "evidence.sealed",
    "evidence.view",
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
        "alert.acknowledge", "alert.review", "alert.dismiss", "alert.push", "box.read", "box.command",
        "evidence.sealed", "report.review", "report.correct", "token.manage",
    },
    "auditor": _READ | {"audit.read", "box.read"},
    "administrator": _SEE
    | {
        "audit.read", "box.command", "box.manage", "box.read", "evidence.view", "site.edit", "token.manage",
        "user.manage",
    },
}  # fmt: skip


class Holder(Protocol):
    """Whoever has a role; `server.models.User` is one."""

    role: str


def role_may(role: str, permission: Permission) -> bool:
    """Whether the role has the permission; an unknown role has none."""
    return any(known == role and permission in permissions for known, permissions in TABLE.items())


def may(user: Holder, permission: Permission) -> bool:
    """Whether this person's role has the permission."""
    return role_may(user.role, permission)
