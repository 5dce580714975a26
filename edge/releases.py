"""The releases of a box on its disk: the one in force, the one before, and whether the newest has proved itself.

A release lies beside the box's own file, never in it: secrets and addresses stay where they are. A new one is on
trial until the box has run with it for a while; a start that is not followed by that counts, and after STARTS_MAX the
one before is in force again, without anybody's help. Each change is one rename, so that a power cut leaves the old
state or the new one.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from telemetry.messages import Identifier
from telemetry.releases import RELEASE_BYTES_MAX, ReleaseError, read_release
from telemetry.spool import drop_parts, write_whole

logger = logging.getLogger(__name__)
STARTS_MAX = 3
REASON_CHARACTERS_MAX = 400
STATE_BYTES_MAX = 64 * 1024
STATE_FILE = "state.json"


class Installed(BaseModel):
    """A release on this box and the command that brought it; without a digest it is the box's own file alone."""

    model_config = ConfigDict(frozen=True)

    release: str = ""
    sha256: str = ""
    command_id: Identifier | None = None
    confirmed: bool = True
    starts: int = 0


class Word(BaseModel):
    """How a release fared, not told to the centre yet."""

    model_config = ConfigDict(frozen=True)

    release: str
    command_id: Identifier
    status: Literal["applied", "failed"]
    reason: str = ""


class State(BaseModel):
    """``previous``: what is in force again when ``current`` fails; it has proved itself."""

    model_config = ConfigDict(frozen=True)

    current: Installed = Installed()
    previous: Installed = Installed()
    words: tuple[Word, ...] = ()


class ReleaseFolder:
    """The folder ``releases`` in the box's data. What cannot be written raises OSError."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "releases"

    @property
    def state(self) -> State:
        """What is on disk; damaged or none: the box's own file alone."""
        path = self._folder / STATE_FILE
        try:
            if path.stat().st_size > STATE_BYTES_MAX:
                raise ValueError("too large")
            return State.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return State()
        except (OSError, ValueError) as error:  # ValueError: pydantic's too
            logger.error("%s cannot be used, no release is in force (%s)", path, type(error).__name__)
            return State()

    def document(self, installed: Installed) -> dict[str, Any]:
        """The sections of a release, none of the box's own file; raises ReleaseError when it is gone or was changed."""
        if not installed.sha256:
            return {}
        try:
            with (self._folder / f"{installed.sha256}.yaml").open("rb") as file:
                raw = file.read(RELEASE_BYTES_MAX + 1)
        except OSError as error:
            raise ReleaseError(f"its file cannot be read ({type(error).__name__})") from error
        if sha256(raw).hexdigest() != installed.sha256:
            raise ReleaseError("its file was changed")
        return read_release(raw)

    def install(self, offered: Installed, raw: bytes) -> None:
        """Put a release on trial from the next start on; *raw* are its bytes, checked already."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if offered.sha256:
            write_whole(self._folder / f"{offered.sha256}.yaml", raw)
        state = self.state
        proved = state.current if state.current.confirmed else state.previous
        on_trial = offered.model_copy(update={"confirmed": False, "starts": 0})
        self._save(State(current=on_trial, previous=proved, words=state.words))
        self._forget_others()

    def count_start(self) -> State:
        """Before anything of it is used: a release on trial that was started too often has failed."""
        state = self.state
        if state.current.confirmed:
            return state
        if state.current.starts >= STARTS_MAX:
            return self.go_back(f"the box was started {STARTS_MAX} times and did not stay up")
        started = state.current.model_copy(update={"starts": state.current.starts + 1})
        return self._save(state.model_copy(update={"current": started}))

    def go_back(self, reason: str) -> State:
        """The release on trial has failed: the one before is in force, and the centre will be told why."""
        state = self.state
        failed = state.current
        logger.error("release %s failed, the one before is in force again: %s", failed.release or "none", reason)
        word = _word(failed, "failed", reason)
        return self._save(State(current=state.previous, previous=state.previous, words=state.words + word))

    def confirm(self) -> State:
        """The box has run long enough: the release on trial has proved itself."""
        state = self.state
        if state.current.confirmed:
            return state
        proved = state.current.model_copy(update={"confirmed": True})
        words = state.words + _word(proved, "applied", "")
        return self._save(State(current=proved, previous=state.previous, words=words))

    def forget_words(self, told: int) -> None:
        """The first *told* words are on their way."""
        state = self.state
        self._save(state.model_copy(update={"words": state.words[told:]}))

    def _save(self, state: State) -> State:
        write_whole(self._folder / STATE_FILE, state.model_dump_json().encode())
        return state

    def _forget_others(self) -> None:
        drop_parts(self._folder)
        state = self.state
        needed = {f"{item.sha256}.yaml" for item in (state.current, state.previous)}
        for path in self._folder.glob("*.yaml"):
            if path.name not in needed:
                with suppress(OSError):
                    path.unlink()


def _word(installed: Installed, status: Literal["applied", "failed"], reason: str) -> tuple[Word, ...]:
    if installed.command_id is None:
        return ()
    text = reason[:REASON_CHARACTERS_MAX]
    return (Word(release=installed.release, command_id=installed.command_id, status=status, reason=text),)
