"""What is in force of a thing that the centre rolls out, what was before, and whether the newest has proved itself.

A new one is on trial until the box has run with it for a while; a start that is not followed by that counts, and after
STARTS_MAX the one before is in force again, without anybody's help. Each change is one rename, so that a power cut
leaves the old state or the new one.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from telemetry.commands import Command
from telemetry.messages import Identifier
from telemetry.released_model import Mode
from telemetry.releases import ReleaseError
from telemetry.spool import write_whole

logger = logging.getLogger(__name__)
STARTS_MAX = 3
REASON_CHARACTERS_MAX = 400
STATE_BYTES_MAX = 64 * 1024
Digest = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]  # it becomes a file's name


class Installed(BaseModel):
    """A release on this box and the command that brought it; without a digest it is what the box's own file says.

    Of a model also: its own digest besides that of its manifest, whether it only looks along, and the pictures that
    each camera judged a second before it.
    """

    model_config = ConfigDict(frozen=True)

    release: str = ""
    sha256: Digest = ""
    command_id: Identifier | None = None
    confirmed: bool = True
    starts: int = 0
    model_sha256: Digest = ""
    mode: Mode = "live"
    rates_fps: dict[str, float] = {}

    def is_same(self, other: Installed) -> bool:
        """Whether nothing would change by the other one."""
        return (self.release, self.sha256, self.mode) == (other.release, other.sha256, other.mode)


def installed_by(command: Command, **more: object) -> Installed:
    """What a command to apply names, and *more*; raises ReleaseError."""
    said = {name: command.arguments.get(name) or "" for name in ("release", "sha256", "model_sha256")}
    mode = command.arguments.get("mode") or "live"
    try:
        return Installed.model_validate({**said, "mode": mode, "command_id": command.command_id, **more})
    except ValueError as error:
        raise ReleaseError("the command names no release") from error


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

    def trying(self, offered: Installed) -> State:
        """With *offered* on trial. A candidate that only looks along is nothing to go back to."""
        proved = self.current if self.current.confirmed and self.current.mode == "live" else self.previous
        on_trial = offered.model_copy(update={"confirmed": False, "starts": 0})
        return State(current=on_trial, previous=proved, words=self.words)


class TrialRecord:
    """A file, which may not exist yet. What cannot be written raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def state(self) -> State:
        """What is on disk; damaged or none: the box's own file alone."""
        try:
            if self._path.stat().st_size > STATE_BYTES_MAX:
                raise ValueError("too large")
            return State.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return State()
        except (OSError, ValueError) as error:  # ValueError: pydantic's too
            logger.error("%s cannot be used, no release is in force (%s)", self._path, type(error).__name__)
            return State()

    def put_on_trial(self, offered: Installed) -> State:
        """From the next start on; what it needs is on disk."""
        return self._save(self.state.trying(offered))

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
        """The newest release has failed: the one before is in force, and the centre will be told why."""
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

    def forget_previous(self) -> State:
        """There is nothing to go back to any more but what the box's own file says."""
        return self._save(self.state.model_copy(update={"previous": Installed()}))

    def forget_words(self, told: int) -> None:
        """The first *told* words are on their way."""
        state = self.state
        self._save(state.model_copy(update={"words": state.words[told:]}))

    def _save(self, state: State) -> State:
        write_whole(self._path, state.model_dump_json().encode())
        return state


def _word(installed: Installed, status: Literal["applied", "failed"], reason: str) -> tuple[Word, ...]:
    if installed.command_id is None:
        return ()
    text = reason[:REASON_CHARACTERS_MAX]
    return (Word(release=installed.release, command_id=installed.command_id, status=status, reason=text),)
