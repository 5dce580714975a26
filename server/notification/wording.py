"""The words of messages, in the recipient's language: what, where, since when, until when, and where to look.

No person's name and no picture is in a message: it may be read on a locked screen, and by whoever runs the channel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from server.i18n import catalogue, translate

LINES_MAX = 10
SUBJECT_CHARACTERS_MAX = 200


@dataclass(frozen=True)
class Told:
    """One change of one alert as the feed keeps it."""

    change: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Words:
    subject: str
    body: str
    path: str


def one_fault(language: str, changes: Sequence[Told]) -> Words:
    """A message on one fault. Several changes of one alert are told by the last; several incidents by their count."""
    last = changes[-1]
    data = last.data
    incidents = len({told.data["id"] for told in changes})
    fields = [
        ("site", data["site"]),
        ("place", _where(data)),
        ("opened_at", _local(changes[0].data["opened_at"], data["time_zone"])),
        ("deadline", _local(data["deadline_at"], data["time_zone"])),
    ]
    lines = [_change(language, last.change)]
    if incidents > 1:
        lines.append(_text(language, "notice_again").format(count=incidents))
    lines += [_text(language, "notice_field").format(name=translate(language, key), value=text) for key, text in fields]
    subject = _text(language, "notice_subject").format(
        tier=translate(language, f"tier_{data['tier']}"), kind=_kind(language, data), site=data["site"],
        change=_change(language, last.change),
    )  # fmt: skip
    return Words(_one_line(subject), "\n".join(lines), f"/alerts/{data['id']}")


def several(language: str, changes: Sequence[Told], *, digest: bool) -> Words:
    """One message for many faults: how many of which kind, at which site."""
    latest = {told.data["id"]: told for told in changes}
    counts = Counter((told.data["tier"], told.data["site"], _kind(language, told.data)) for told in latest.values())
    lines = [
        _text(language, "notice_line").format(
            tier=translate(language, f"tier_{tier}"), site=site, kind=kind, count=count
        )
        for (tier, site, kind), count in sorted(counts.items(), key=lambda item: (item[0][0], -item[1], item[0][1:]))
    ]
    if len(lines) > LINES_MAX:
        lines = [*lines[:LINES_MAX], _text(language, "notice_more").format(count=len(lines) - LINES_MAX)]
    subject = _text(language, "notice_digest" if digest else "notice_summary").format(count=len(latest))
    return Words(_one_line(subject), "\n".join(lines), "/")


def trial(language: str) -> Words:
    """What somebody gets who tries a channel out."""
    return Words(_text(language, "notice_trial_subject"), _text(language, "notice_trial"), "/me/notifications")


def _text(language: str, key: str) -> str:
    return catalogue()[key][language]


def _kind(language: str, data: Mapping[str, Any]) -> str:
    return translate(language, f"kind_{data['kind']}")


def _change(language: str, change: str) -> str:
    known = catalogue().get(f"notice_{change}") or catalogue()["notice_changed"]
    return known[language]


def _where(data: Mapping[str, Any]) -> str:
    return " · ".join(str(data[key]) for key in ("place", "source_name") if data[key])


def _local(iso: str, zone: str) -> str:
    return datetime.fromisoformat(iso).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


def _one_line(text: str) -> str:
    """Names come from outside: a line break in one must not start a new header of a mail."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:SUBJECT_CHARACTERS_MAX]
