"""Brings releases from the centre over a bad line: a configuration whole, a model piece by piece.

A model goes onto the disk as it comes, and is gone on with where a cut left it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol

from edge.model_folder import digest_of
from telemetry.backoff import Backoff
from telemetry.command_call import Piece, PieceMissing
from telemetry.released_model import MODEL_BYTES_MAX
from telemetry.releases import ReleaseError
from telemetry.uplink import UplinkUnavailable

TRIES_MAX = 5  # of a configuration, or of one piece
BACKOFF_S_MAX = 20.0
FREE_BYTES_MIN = 64 * 1024 * 1024  # records and evidence go on meanwhile
Fetch = Callable[[str], Awaitable[bytes]]


class Caller(Protocol):
    """`telemetry.command_call.CommandCaller`."""

    async def __aenter__(self) -> Caller: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def fetch(self, sha256: str) -> bytes: ...

    async def fetch_piece(self, sha256: str, first: int) -> Piece: ...


async def fetch_patiently(fetch: Fetch, sha256: str) -> bytes:
    """What *fetch* gives, which is tried again; raises UplinkUnavailable."""
    backoff = Backoff(BACKOFF_S_MAX)
    for _ in range(TRIES_MAX - 1):
        try:
            return await fetch(sha256)
        except UplinkUnavailable as error:
            await backoff.wait(error.retry_after_s)
    return await fetch(sha256)


async def fetch_model(caller: Caller, sha256: str, part: Path) -> None:
    """The whole of it is in *part*, synced, and has this digest.

    Raises UplinkUnavailable, after which *part* is gone on with; ReleaseError for what is no such model, OSError on a
    full disk: then nothing is left of it.
    """
    try:
        if not await asyncio.to_thread(_is_there, part, sha256):
            await _fetch_rest(caller, sha256, part)
            if await asyncio.to_thread(digest_of, part) != sha256:
                raise ReleaseError("the centre sent other bytes than it announced")
    except (ReleaseError, OSError):
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


async def _fetch_rest(caller: Caller, sha256: str, part: Path) -> None:
    backoff, tries, total_bytes = Backoff(BACKOFF_S_MAX), 0, MODEL_BYTES_MAX
    while (first := part.stat().st_size if part.exists() else 0) < total_bytes:
        try:
            piece = await caller.fetch_piece(sha256, first)
        except PieceMissing:
            if not first:
                raise
            part.unlink()  # it was torn by a power cut
            continue
        except UplinkUnavailable as error:
            tries += 1
            if tries >= TRIES_MAX:
                raise
            await backoff.wait(error.retry_after_s)
            continue
        tries, total_bytes = 0, piece.total_bytes
        backoff.reset()
        if total_bytes > MODEL_BYTES_MAX:
            raise ReleaseError(f"the model has {total_bytes} bytes, at most {MODEL_BYTES_MAX}")
        await asyncio.to_thread(_append, part, piece.data, total_bytes - first)


def _append(part: Path, data: bytes, rest_bytes: int) -> None:
    part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if shutil.disk_usage(part.parent).free < rest_bytes + FREE_BYTES_MIN:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with part.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _is_there(part: Path, sha256: str) -> bool:
    return part.exists() and digest_of(part) == sha256
