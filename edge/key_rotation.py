"""How a box takes a new key, so that a cut at any moment leaves one that the centre still hears.

The new key is on disk before anybody is told of it; the old one goes only when the centre has said that it has the
new one. In between the box signs with the old one, which the centre takes, and tries again with the same new one.
What waits keeps the old signature: the public halves of former keys stay beside the key (`telemetry.signing`).
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.clock import clock_synced
from edge.config import ConfigurationError, EdgeConfig
from edge.enrolment import key_file, load_identity
from telemetry.key_change import PATH, SignedKeyChange, sign_change
from telemetry.outbox.inspection import looking_into
from telemetry.outbox.status import OutboxError
from telemetry.pinning import client_context
from telemetry.signing import KeyFileError, PublicKey, Signer, read_replaced, replaced_file
from telemetry.spool import sync_folder, write_whole

logger = logging.getLogger(__name__)
TIMEOUT_S = 15.0
LOOK_S = 30.0
RETRY_S = 600.0
DAY_S = 86_400.0


class RotationError(Exception):
    """The box keeps its key for now; the message says why."""


def next_file(data_dir: Path) -> Path:
    """Where the new key waits for the centre's word."""
    path = key_file(data_dir)
    return path.with_name(f"{path.name}.next")


def rotate_key(config: EdgeConfig) -> PublicKey:
    """Take a new key, or go on where the last try ended; gives its public half.

    A box that runs sees it and starts anew (`KeyService`). Raises RotationError or ConfigurationError.
    """
    data_dir = config.box.data_dir
    with _alone(data_dir):
        identity, old = load_identity(config)
        try:
            new = _next_key(data_dir)
            _tell_centre(config, sign_change(identity.box_id, old, new, _epoch(data_dir / "outbox.sqlite")), new)
            _take_over(data_dir, old)
        except (KeyFileError, OSError) as error:
            raise RotationError(str(error)) from error
    return new.public_key


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """One rotation at a time: the command and the running box may come at once."""
    try:
        handle = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise RotationError(f"{data_dir}: {error.strerror}; is the box enrolled?") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _next_key(data_dir: Path) -> Signer:
    """The key of the last try, or a new one, which is on disk for good: the centre may be told of it."""
    path = next_file(data_dir)
    if path.exists():
        return Signer.load(path)
    signer = Signer.generate()
    signer.save(path)
    sync_folder(data_dir)
    return signer


def _epoch(outbox: Path) -> str | None:
    try:
        with looking_into(outbox) as db:
            return str(db.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])
    except (OutboxError, TypeError):  # none yet, or a damaged one: it is replaced at the next start
        return None


def _tell_centre(config: EdgeConfig, change: SignedKeyChange, new: Signer) -> None:
    import httpx

    uplink = config.uplink
    try:
        context = client_context(config.server.ca_file, uplink.pins)
        with httpx.Client(verify=context, proxy=uplink.proxy, trust_env=False, timeout=TIMEOUT_S) as client:
            answer = client.post(
                f"{config.server.url}{PATH}",
                content=change.model_dump_json(),
                headers={"content-type": "application/json"},
            )
    except httpx.HTTPError as error:
        raise RotationError(f"{config.server.url} cannot be reached ({error}); the box keeps its key") from error
    if answer.status_code != 200:
        raise RotationError(f"the centre refused the new key: HTTP {answer.status_code} {answer.text[:300]}")
    try:
        said = answer.json()
    except ValueError:
        said = None
    if not isinstance(said, dict) or said.get("public_key") != new.public_key_b64:
        raise RotationError("the answer does not name the new key; is this a Brightline centre?")


def _take_over(data_dir: Path, old: Signer) -> None:
    """First what the old key signed stays provable, then the new key stands in its place; each whole or not at all."""
    path = key_file(data_dir)
    keys = dict.fromkeys([old.public_key_b64, *(key.b64 for key in read_replaced(path))])
    write_whole(replaced_file(path), "".join(f"{key}\n" for key in keys).encode())
    next_file(data_dir).replace(path)
    sync_folder(data_dir)


class KeyService:
    """Replaces a key in its time, ends what was begun, and starts the box anew when its key is another one.

    ``run`` is a supervised service; *restart* ends the process in the orderly way.
    """

    def __init__(
        self, config: EdgeConfig, loaded: PublicKey, restart: Callable[[], None], *, look_s: float = LOOK_S
    ) -> None:
        self._config = config
        self._loaded = loaded
        self._restart = restart
        self._look_s = look_s
        self._failed = ""

    async def run(self) -> None:
        """Until cancelled."""
        try_s = 0.0
        while not await asyncio.to_thread(self._is_replaced):
            if time.monotonic() >= try_s and await asyncio.to_thread(self._is_wanted):
                try_s = time.monotonic() + RETRY_S
                await self._rotate()
            else:
                await asyncio.sleep(self._look_s)
        logger.info("this box has a new key and starts anew with it")
        self._restart()
        await asyncio.get_running_loop().create_future()

    async def _rotate(self) -> None:
        try:
            await asyncio.to_thread(rotate_key, self._config)
        except (RotationError, ConfigurationError) as error:
            if str(error) != self._failed:
                logger.warning("the box keeps its key and tries again: %s", error)
            self._failed = str(error)

    def _is_replaced(self) -> bool:
        try:
            return Signer.load(key_file(self._config.box.data_dir)).public_key.raw != self._loaded.raw
        except KeyFileError:
            return False  # the next start tells it; what is loaded goes on

    def _is_wanted(self) -> bool:
        """Whether a try waits for its end, or the key is as old as the configuration lets it become."""
        data_dir, days = self._config.box.data_dir, self._config.uplink.key_max_age_days
        if next_file(data_dir).exists():
            return True
        if days is None or not clock_synced():
            return False
        try:
            return time.time() - key_file(data_dir).stat().st_mtime > days * DAY_S
        except OSError:
            return False
