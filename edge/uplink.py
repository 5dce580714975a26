"""Opens what keeps and carries the records of a box, as its configuration says."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from edge.clock import STATE_KEY, BoxClock, boot_id
from edge.config import EdgeConfig
from edge.enrolment import Identity
from edge.remote_desk import RemoteDesk
from edge.remote_service import RemoteService
from telemetry.command_call import CommandCaller, Parties
from telemetry.forwarder import Forwarder
from telemetry.outbox import Outbox
from telemetry.signing import PublicKey, Signer
from telemetry.spool import EvidenceSpool
from telemetry.uplink import UplinkSettings, UplinkUnavailable

logger = logging.getLogger(__name__)


def open_outbox(config: EdgeConfig, box_id: str, signer: Signer) -> Outbox:
    """The outbox of a box; raises OutboxError."""
    uplink = config.uplink
    return Outbox.open(
        config.box.data_dir / "outbox.sqlite",
        box_id,
        signer,
        boot_id=boot_id(),
        readings_bytes_max=uplink.readings_bytes_max,
        delivered_bytes_max=uplink.delivered_bytes_max,
        reserve_bytes=uplink.reserve_bytes,
    )


def start_clock(outbox: Outbox) -> BoxClock:
    """The clock of this boot; where it counts from is on disk before any reading is. The outbox keeps its time too."""
    clock = BoxClock(outbox.load_state(STATE_KEY).get(STATE_KEY))
    outbox.use_clock(clock.stamp)
    outbox.commit([], [], {STATE_KEY: clock.dump()})
    return clock


def make_remote_service(
    config: EdgeConfig, identity: Identity, signer: Signer, desk: RemoteDesk
) -> RemoteService | None:
    """What asks the centre for commands; None when nothing is allowed, or the centre's key is not known."""
    if not config.remote.allow:
        return None
    parties = _parties(config, identity, signer)
    if parties is None:
        logger.warning("no commands are taken: set remote.centre_key, this box was enrolled without one")
        return None
    return RemoteService(_settings(config), parties, desk)


def make_caller(config: EdgeConfig, identity: Identity, signer: Signer) -> Callable[[], CommandCaller]:
    """What opens a connection for calls of its own at the centre; it raises UplinkUnavailable."""

    def open_caller() -> CommandCaller:
        parties = _parties(config, identity, signer)
        if parties is None:
            raise UplinkUnavailable("the centre's key is not known")
        return CommandCaller(_settings(config), parties)

    return open_caller


def make_fetch(open_caller: Callable[[], CommandCaller]) -> Callable[[str], Awaitable[bytes]]:
    """What fetches the release with a digest from the centre; it raises UplinkUnavailable."""

    async def fetch(sha256: str) -> bytes:
        async with open_caller() as caller:
            return await caller.fetch(sha256)

    return fetch


def _parties(config: EdgeConfig, identity: Identity, signer: Signer) -> Parties | None:
    centre_key = config.remote.centre_key or identity.centre_key
    return Parties(identity.box_id, signer, PublicKey.from_b64(centre_key)) if centre_key else None


def _settings(config: EdgeConfig) -> UplinkSettings:
    uplink = config.uplink
    return UplinkSettings(config.server.url, config.server.ca_file, uplink.pins, uplink.proxy)


def make_forwarder(config: EdgeConfig, outbox: Outbox, spool: EvidenceSpool) -> Forwarder:
    uplink = config.uplink
    return Forwarder(
        outbox,
        spool,
        config.server.url,
        ca_file=config.server.ca_file,
        pins=uplink.pins,
        proxy=uplink.proxy,
        bandwidth_bytes_per_s=uplink.bandwidth_bytes_per_s,
        backfill_share=uplink.backfill_share,
    )
