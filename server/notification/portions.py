"""What becomes one message: a pure cut of all that a channel is to hear now, so that no storm reaches anybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from server.notification.rules import Cap
from server.notification.timing import URGENT_TIER


@dataclass(frozen=True)
class Wish:
    """One waiting `notification`: its number, its fault, and whether it belongs into a digest."""

    id: int
    thread: str
    tier: int
    digest: bool = False


@dataclass(frozen=True)
class Portion:
    """The wishes that one message tells."""

    kind: Literal["notice", "digest", "summary"]
    wishes: tuple[Wish, ...]


def cut(
    wishes: Sequence[Wish], sent_at: Sequence[datetime], now: datetime, cap: Cap
) -> tuple[list[Portion], datetime | None]:
    """The messages to send now, or none and when to look again. *sent_at*: when the channel's last ones were made."""
    portions = _portions(wishes, cap)
    if not portions:
        return [], None
    window = timedelta(seconds=cap.window_s)
    recent = sorted(at for at in sent_at if at > now - window)
    room = cap.messages - len(recent)
    if len(portions) <= room:
        return portions, None
    all_in_one = [Portion("summary", tuple(wishes))]
    if room >= 1:
        return all_in_one, None
    free_at = recent[-cap.messages] + window
    if any(wish.tier == URGENT_TIER for wish in wishes):
        free_at = min(free_at, recent[-1] + timedelta(seconds=cap.urgent_every_s))
    return (all_in_one, None) if free_at <= now else ([], free_at)


def _portions(wishes: Sequence[Wish], cap: Cap) -> list[Portion]:
    digest = tuple(wish for wish in wishes if wish.digest)
    threads: dict[str, list[Wish]] = {}
    for wish in wishes:
        if not wish.digest:
            threads.setdefault(wish.thread, []).append(wish)
    portions = [Portion("digest", digest)] if digest else []
    if len(threads) > cap.at_once:
        return [*portions, Portion("summary", tuple(wish for wish in wishes if not wish.digest))]
    return [*portions, *(Portion("notice", tuple(group)) for group in threads.values())]
