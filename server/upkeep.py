"""What the centre does for its record while it runs: the Merkle log, and the purge of what need not be kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.deps import AppState
from server.merkle.keys import ensure_signer
from server.merkle.worker import LogWorker
from server.retention.worker import RetentionWorker


@asynccontextmanager
async def upkeep(state: AppState) -> AsyncIterator[None]:
    """Runs while entered. Raises KeyFileError where others may read the centre's key."""
    settings = state.settings
    signer = ensure_signer(settings.data_dir)
    log = LogWorker(state.engine, settings.log, settings.data_dir, signer, state.notices.egress)
    retention = RetentionWorker(state.engine, state.blobs, signer, settings)
    async with log.running(), retention.running():
        yield
