"""Looks after the originals on the box: recovers them after a start, lets them go when their time is over, tells both.

What was purged is told to the centre too, once each, by events that the box signs: the tombstones' file alone could be
written by anybody who has the disk.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime

from edge.clock import clock_synced
from edge.config_evidence import EvidenceSection
from edge.evidence_folder import EvidenceFolder
from edge.old_recordings import drop_old
from edge.rules import new_id
from telemetry.evidence import EvidenceManifest
from telemetry.messages import Event, Scalar
from telemetry.signing import PublicKey
from telemetry.spool import EvidenceSpool

logger = logging.getLogger(__name__)
INTERVAL_S = 600.0
NAMES_MAX = 60  # of files in one event
STATE_KEY = "evidence/told"  # how many bytes of the tombstones were told
Record = Callable[[Sequence[Event], dict[str, str | None]], Awaitable[None]]


class EvidenceKeeper:
    """One for the box; ``run`` is a supervised service."""

    def __init__(
        self,
        folder: EvidenceFolder,
        spool: EvidenceSpool,
        settings: EvidenceSection,
        *,
        box_id: str,
        public_key: PublicKey,
        told: str | None,
        record: Record,
        recorded: Collection[str] = (),
    ) -> None:
        """*recorded* are the cameras that look after their own recordings."""
        self.folder = folder
        self._spool = spool
        self._settings = settings
        self._box_id = box_id
        self._public_key = public_key
        self._told_bytes = int(told or 0)
        self._record = record
        self._recorded = recorded

    async def run(self) -> None:
        """Until cancelled. Raises OSError."""
        await self.recover()
        while True:
            await self.clean()
            await asyncio.sleep(INTERVAL_S)

    async def recover(self) -> None:
        """Set aside what a power cut or the disk has torn, and say so."""

        def key_of(box_id: str) -> PublicKey | None:
            return self._public_key if box_id == self._box_id else None

        broken = [
            name for place in (self._spool, self.folder) for name in await asyncio.to_thread(place.recover, key_of)
        ]
        for start in range(0, len(broken), NAMES_MAX):
            names = broken[start : start + NAMES_MAX]
            logger.error("%d evidence files are torn or altered and were set aside", len(names))
            await self._record([self._event("evidence_quarantined", {"files": names})], {})

    async def clean(self) -> None:
        """Let go what is over its time, and over the cap; the clock has to be right for the first."""
        await asyncio.to_thread(self.folder.finish_removals)
        if clock_synced():
            now = datetime.now(UTC)
            await asyncio.to_thread(self.folder.expire, self._days_for, now)
            before_s = now.timestamp() - self._settings.keep_days * 86_400
            await asyncio.to_thread(drop_old, self.folder.folder.parent, self._recorded, before_s)
        await asyncio.to_thread(self.folder.make_room, 0)
        await self._tell_purged()

    def _days_for(self, manifest: EvidenceManifest) -> float:
        return self._settings.days_for(manifest.kind, manifest.tier)

    async def _tell_purged(self) -> None:
        for why, names, end_bytes in await asyncio.to_thread(self._untold):
            logger.info("%d originals were removed: %s", len(names), why)
            event = self._event("evidence_purged", {"why": why, "files": names})
            await self._record([event], {STATE_KEY: str(end_bytes)})
            self._told_bytes = end_bytes

    def _untold(self) -> list[tuple[str, list[str], int]]:
        """Tombstones that were not told yet, in groups of one reason: reason, digests, and where the group ends."""
        groups: list[tuple[str, list[str], int]] = []
        try:
            with self.folder.tombstones.open("rb") as file:
                file.seek(self._told_bytes)
                for line in file:
                    end_bytes = (groups[-1][2] if groups else self._told_bytes) + len(line)
                    why, name = _read_tombstone(line)
                    if groups and groups[-1][0] == why and len(groups[-1][1]) < NAMES_MAX:
                        groups[-1] = (why, [*groups[-1][1], name], end_bytes)
                    else:
                        groups.append((why, [name], end_bytes))
        except FileNotFoundError:
            pass
        return groups

    def _event(self, status: str, data: dict[str, Scalar | list[str]]) -> Event:
        name = new_id()
        return Event(
            event_id=name, incident_id=name, type="box_status", severity="info", source_id=self._box_id,
            at=datetime.now(UTC), data={"kind": "evidence", "status": status, **data},
        )  # fmt: skip


def _read_tombstone(line: bytes) -> tuple[str, str]:
    """Why, and the file's digest; a line that a power cut tore is told as such."""
    try:
        read = json.loads(line)
        return str(read["why"]), str(read["sha256"])
    except (ValueError, KeyError, TypeError):
        return "unreadable", "unknown"
