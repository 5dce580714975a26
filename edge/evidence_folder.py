"""The originals that stay on the box: signed evidence files by incident, the holds on them, and what was purged.

A file is whole or not there. A held incident loses nothing, whoever wants the room: every removal looks at the holds
under the same lock that a hold takes. Whatever is removed leaves a tombstone (what, when, why), so that an audit tells
a purge from a loss; between removal and tombstone the file's name and its signed part stay, also over a power cut.

    evidence/incidents/INCIDENT/SHA256.ble   evidence/holds/INCIDENT   evidence/tombstones.jsonl   evidence/quarantine/
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from telemetry.evidence import EvidenceError, EvidenceManifest, open_evidence, read_manifest
from telemetry.signing import PublicKey
from telemetry.spool import drop_parts, set_aside, write_whole

Why = Literal["expired", "over_cap", "disk_full"]
HOLD_WHY_CHARACTERS_MAX = 200
RECOVER_BYTES_MAX = 256 * 1024 * 1024
SAME_CLOCK_S = 3_600.0  # a picture is kept soon after it was taken, by the same clock
_INCIDENT = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")
_PURGED = re.compile(r"^([0-9a-f]{64})\.purged-(expired|over_cap|disk_full)$")


class StorageFull(Exception):
    """There is no room for another original, and nothing that may be removed for it."""


@dataclass(frozen=True)
class KeptFile:
    """One original on the disk; ``kept_at_s`` (Unix) is when it was put there."""

    path: Path
    incident_id: str
    size_bytes: int
    kept_at_s: float


class EvidenceFolder:
    """See the module's docstring. Several processes may use it at once."""

    def __init__(self, folder: Path, *, bytes_max: int, free_bytes_min: int) -> None:
        self.folder = folder
        self._incidents = folder / "incidents"
        self._holds = folder / "holds"
        self.tombstones = folder / "tombstones.jsonl"
        self._bytes_max = bytes_max
        self._free_bytes_min = free_bytes_min
        self._kept_bytes: int | None = None  # the sum of the files as long as the lock has the mark; None: unknown
        self._mark_ns = 0
        for path in (self._incidents, self._holds):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(self, data: bytes, sha256: str, incident_id: str) -> Path:
        """Keep an evidence file of *incident_id*, on disk when this returns. Raises StorageFull or OSError."""
        target = self._incidents / _checked(incident_id) / f"{sha256}.ble"
        with self._locked() as lock:
            if not self._make_room(len(data), self._free_bytes_min, lock):
                raise StorageFull("the box's storage is full")
            before_bytes = target.stat().st_size if target.exists() else 0
            kept_bytes = self._sum_bytes()
            self._change(lock)
            target.parent.mkdir(exist_ok=True, mode=0o700)
            write_whole(target, data)
            self._kept_bytes = kept_bytes - before_bytes + len(data)
        return target

    def find(self, incident_id: str, sha256: str) -> Path | None:
        """The file of that digest, if it is still kept."""
        path = self._incidents / _checked(incident_id) / f"{sha256}.ble"
        return path if path.exists() else None

    def files(self) -> list[KeptFile]:
        """All that is kept, oldest first."""
        found = []
        for path in self._incidents.glob("*/*.ble"):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            found.append(KeptFile(path, path.parent.name, stat.st_size, stat.st_mtime))
        return sorted(found, key=lambda item: (item.kept_at_s, item.path.name))

    def hold(self, incident_id: str, why: str, at: datetime) -> None:
        """From now on nothing removes the originals of this incident, also on a full disk, which may cost the *why*.

        Raises ValueError or OSError.
        """
        text = json.dumps({"at": at.isoformat(), "why": why[:HOLD_WHY_CHARACTERS_MAX]}, ensure_ascii=False)
        path = self._holds / _checked(incident_id)
        with self._locked():
            try:
                write_whole(path, text.encode())
            except OSError:
                path.touch(mode=0o600)  # takes no block

    def release(self, incident_id: str) -> bool:
        """Let its originals go when their time is over; whether they were held."""
        path = self._holds / _checked(incident_id)
        with self._locked():
            held = path.exists()
            path.unlink(missing_ok=True)
        return held

    def holds(self) -> frozenset[str]:
        """The held incidents."""
        return frozenset(path.name for path in self._holds.iterdir() if _INCIDENT.match(path.name))

    def make_room(self, wanted_bytes: int, *, free_bytes_min: int | None = None) -> bool:
        """Whether so much fits within the cap and the disk, after removing the oldest that nobody holds if needed.

        Where even that would not be enough, nothing is removed: nothing goes in vain.
        """
        with self._locked() as lock:
            least_bytes = self._free_bytes_min if free_bytes_min is None else free_bytes_min
            return self._make_room(wanted_bytes, least_bytes, lock)

    def _make_room(self, wanted_bytes: int, free_bytes_min: int, lock: int) -> bool:
        free_bytes = shutil.disk_usage(self.folder).free - wanted_bytes
        if free_bytes >= free_bytes_min and self._sum_bytes() + wanted_bytes <= self._bytes_max:
            return True  # with many files, looking at each of them takes half a second
        files, held = self.files(), self.holds()
        kept_bytes = sum(item.size_bytes for item in files)
        removable = [item for item in files if item.incident_id not in held]
        missing_bytes = max(kept_bytes + wanted_bytes - self._bytes_max, free_bytes_min - free_bytes)
        if missing_bytes > sum(item.size_bytes for item in removable):
            return False
        self._change(lock)
        for item in removable:
            full = shutil.disk_usage(self.folder).free - wanted_bytes < free_bytes_min
            if not full and kept_bytes + wanted_bytes <= self._bytes_max:
                break
            self._purge(item.path, "disk_full" if full else "over_cap")
            kept_bytes -= item.size_bytes
        self._kept_bytes = kept_bytes
        free_bytes = shutil.disk_usage(self.folder).free - wanted_bytes
        return free_bytes >= free_bytes_min and kept_bytes + wanted_bytes <= self._bytes_max

    def expire(self, days_for: Callable[[EvidenceManifest], float], now: datetime) -> int:
        """Remove what is older than its days and not held; returns how many files. The clock must be right."""
        expired = 0
        with self._locked() as lock:
            self._change(lock)
            held = self.holds()
            for item in self.files():
                if item.incident_id in held:
                    continue
                try:
                    manifest, _ = read_manifest(item.path)
                except (FileNotFoundError, EvidenceError):
                    continue  # `recover` sees to it
                if now.timestamp() - item.kept_at_s <= days_for(manifest) * 86_400:
                    continue
                if _kept_by_a_wrong_clock(item, manifest):
                    os.utime(item.path, (now.timestamp(), now.timestamp()))  # its time counts from now on
                    continue
                self._purge(item.path, "expired")
                expired += 1
        return expired

    def finish_removals(self) -> None:
        """Bury what a power cut or a full disk left half removed. Raises OSError."""
        with self._locked():
            for path in self._incidents.glob("*/*.purged-*"):
                if match := _PURGED.match(path.name):
                    self._bury(path, match[2])

    def recover(self, key_of: Callable[[str], PublicKey | None]) -> list[str]:
        """After a start: finish what was being removed, set aside what is torn or changed; gives the names of those.

        Of the files only the newest are read, which a power cut may have hit: reading all of them would take minutes.
        """
        drop_parts(self.folder)
        self.finish_removals()
        broken, read_bytes = [], 0
        for item in reversed(self.files()):
            read_bytes += item.size_bytes
            if read_bytes > RECOVER_BYTES_MAX:
                break
            try:
                if open_evidence(item.path.read_bytes(), key_of).manifest.sha256 == item.path.stem:
                    continue
            except FileNotFoundError:
                continue
            except EvidenceError:
                pass
            with self._locked() as lock:
                self._change(lock)
                set_aside(item.path, self.folder / "quarantine")
            broken.append(item.path.name)
        return broken

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Gives the descriptor of the lock."""
        with (self.folder / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_mtime_ns != self._mark_ns:
                self._kept_bytes = None  # another process was here
            yield file.fileno()

    def _sum_bytes(self) -> int:
        """What all files have together; under the lock."""
        if self._kept_bytes is None:
            self._mark_ns = (self.folder / "lock").stat().st_mtime_ns
            self._kept_bytes = sum(item.size_bytes for item in self.files())
        return self._kept_bytes

    def _change(self, lock: int) -> None:
        """Before a file comes or goes: every process counts anew, this one too unless it knows the sum when it is done.

        The lock's time is the mark: it counts up by a second each, which every file system keeps and takes no room for.
        """
        self._kept_bytes = None
        mark_ns = os.fstat(lock).st_mtime_ns + 1_000_000_000
        os.utime(lock, ns=(mark_ns, mark_ns))
        self._mark_ns = os.fstat(lock).st_mtime_ns

    def _purge(self, path: Path, why: Why) -> None:
        marked = path.with_suffix(f".purged-{why}")
        path.rename(marked)  # needs no room, and says what was meant when the power goes now
        self._bury(marked, why)

    def _bury(self, marked: Path, why: str) -> None:
        """Free the blocks of the picture, write the tombstone (there is room now), remove the rest."""
        line: dict[str, object] = {"sha256": marked.stem, "incident_id": marked.parent.name, "why": why}
        try:
            manifest, signed_bytes = read_manifest(marked)
        except EvidenceError:
            os.truncate(marked, 0)
        else:
            os.truncate(marked, signed_bytes)
            line |= manifest.model_dump(mode="json", include={"camera_id", "kind", "role", "taken_at", "size_bytes"})
        line["purged_at"] = datetime.now(UTC).isoformat(timespec="seconds")
        with self.tombstones.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        marked.unlink()
        if not any(marked.parent.iterdir()):
            marked.parent.rmdir()


def _kept_by_a_wrong_clock(item: KeptFile, manifest: EvidenceManifest) -> bool:
    """Whether its age is none: a box that booted in the past put it there, and nobody has corrected that."""
    return manifest.clock_synced is False and abs(item.kept_at_s - manifest.taken_at.timestamp()) < SAME_CLOCK_S


def _checked(incident_id: str) -> str:
    if not _INCIDENT.match(incident_id):
        raise ValueError(f"{incident_id!r} is no incident's id")
    return incident_id
