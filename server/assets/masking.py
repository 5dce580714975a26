"""Hides what tells who somebody is. Pure; a mask of a mask is the mask itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Secrecy = Literal["name", "phone", "identity", "number"]
STAR = "*"
NAME_STARS_MAX = 3


def mask_name(name: str) -> str:
    """The first character and stars: 王小明 → 王**; how long a long name is does not show."""
    return name[:1] + STAR * min(max(len(name) - 1, 1), NAME_STARS_MAX) if name else ""


def mask_number(number: str) -> str:
    """The last four characters, or the last one of up to six."""
    kept = 4 if len(number) > 6 else 1
    return STAR * (len(number) - kept) + number[-kept:] if number else ""


def mask_phone(phone: str) -> str:
    """The first three and the last four digits; of a short one the last two, or none."""
    if len(phone) < 11:
        kept = 2 if len(phone) > 4 else 0
        return STAR * (len(phone) - kept) + phone[len(phone) - kept :]
    return phone[:3] + STAR * (len(phone) - 7) + phone[-4:]


def mask_identity(identity: str) -> str:
    """The first and the last character of an identity number: neither birthday nor county shows."""
    return identity[:1] + STAR * (len(identity) - 2) + identity[-1:] if len(identity) > 2 else STAR * len(identity)


MASKS: dict[Secrecy, Callable[[str], str]] = {
    "name": mask_name, "phone": mask_phone, "identity": mask_identity, "number": mask_number,
}  # fmt: skip
