"""What a shadow leaves on the box, in a folder of its own: the decision in force, all decisions so far, the counts, and
the disagreements with their pictures. Nothing of it leaves the box.

Files are replaced whole. Disagreements are bounded in number, bytes and age; the oldest go first.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from vision.shadow_counts import ShadowCounts

SEEN_MAX = 200
SEEN_BYTES_MAX = 50_000_000
HISTORY_MAX = 1000
FILE_BYTES_MAX = 1_000_000


@dataclass(frozen=True)
class Decision:
    """Which of the two is live. ``starts``: of the camera process since then that did not last; ``rate_fps``: pictures
    judged a second before it. ``announced``: the centre was told. ``order``: the one that began with it, if any did."""

    live_sha256: str
    other_sha256: str
    promoted: bool
    at: str
    by: Literal["person", "automatic", "order"]
    reason: str = ""
    rate_fps: float = 0.0
    starts: int = 0
    announced: bool = True
    order: str = ""


@dataclass(frozen=True)
class Refusal:
    """A candidate that is not loaded any more; ``release``: which brought it, empty for the box's own file."""

    sha256: str
    at: str
    reason: str
    release: str = ""


class ShadowFolder:
    """Of one model of one camera; may not exist yet."""

    def __init__(self, path: Path, keep_days: float = 14.0) -> None:
        self.path = path
        self._keep_s = keep_days * 86_400

    @property
    def decision_file(self) -> Path:
        return self.path / "decision.json"

    def decision(self) -> Decision | None:
        """The one in force; None for none, and for a file that holds none."""
        found = _read(self.decision_file)
        try:
            return Decision(**found) if isinstance(found, dict) else None
        except TypeError:
            return None

    def decide(self, decision: Decision, *, told: bool = True) -> None:
        """Put *decision* in force; *told* also adds it to the history. Raises OSError."""
        self._make()
        if told:
            lines = [*self.history(), asdict(decision)][-HISTORY_MAX:]
            _write(self.path / "history.json", lines)
        _write(self.decision_file, asdict(decision))

    def refusal(self, sha256: str, release: str | None = None) -> Refusal | None:
        """Why the candidate of that digest is off; None when it is not, or was as another *release* than this one."""
        found = _read(self.path / "off.json")
        try:
            refusal = Refusal(**found) if isinstance(found, dict) else None
        except TypeError:
            return None
        if refusal is None or refusal.sha256 != sha256 or release not in (None, refusal.release):
            return None
        return refusal

    def refuse(self, refusal: Refusal) -> None:
        """Turn a candidate off until somebody allows it again or another one comes. Raises OSError."""
        self._make()
        _write(self.path / "off.json", asdict(refusal))

    def allow(self) -> bool:
        """Let the candidate be loaded again from the next start on; whether one was off."""
        was_off = (self.path / "off.json").exists()
        (self.path / "off.json").unlink(missing_ok=True)
        return was_off

    def history(self) -> list[dict[str, Any]]:
        found = _read(self.path / "history.json")
        return found if isinstance(found, list) else []

    def counts(self) -> ShadowCounts:
        found = _read(self.path / "counts.json")
        try:
            return ShadowCounts(**found["counts"]) if isinstance(found, dict) else ShadowCounts()
        except (TypeError, KeyError):
            return ShadowCounts()

    def state(self) -> dict[str, Any]:
        """What was last saved beside the counts: the models' digests and the rate."""
        found = _read(self.path / "counts.json")
        return {name: value for name, value in found.items() if name != "counts"} if isinstance(found, dict) else {}

    def save_counts(self, counts: ShadowCounts, **state: Any) -> None:
        """Raises OSError."""
        self._make()
        _write(self.path / "counts.json", {**state, "counts": asdict(counts)})
        self._forget()  # also when nothing new comes

    def keep(self, at: datetime, jpeg: bytes, said: dict[str, Any]) -> None:
        """One disagreement with its picture; raises OSError."""
        self._make()
        stem = f"{at.astimezone(UTC):%Y%m%dT%H%M%S%f}"
        (self.path / "seen" / f"{stem}.jpg").write_bytes(jpeg)
        _write(self.path / "seen" / f"{stem}.json", {"at": at.isoformat(), **said})
        self._forget()

    def seen(self) -> Iterator[dict[str, Any]]:
        """The kept disagreements, newest first."""
        for path in sorted((self.path / "seen").glob("*.json"), reverse=True):
            if isinstance(found := _read(path), dict):
                yield {**found, "picture": str(path.with_suffix(".jpg"))}

    def _make(self) -> None:
        (self.path / "seen").mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.chmod(0o700)

    def _forget(self) -> None:
        newest = sorted((self.path / "seen").glob("*.jpg"), reverse=True)
        size_bytes, now_s = 0, time.time()
        for number, path in enumerate(newest):
            found = path.stat()
            size_bytes += found.st_size
            if number >= SEEN_MAX or size_bytes > SEEN_BYTES_MAX or now_s - found.st_mtime > self._keep_s:
                path.with_suffix(".json").unlink(missing_ok=True)
                path.unlink()


def _read(path: Path) -> Any:
    """The JSON in a file of ours; None where there is none."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            return None
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _write(path: Path, data: Any) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(data), "utf-8")
    part.rename(path)
