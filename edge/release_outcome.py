"""How an order to install a release ends, in the words that the centre is told: whatever is released, the same ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from edge.config import ConfigurationError
from edge.remote_desk import Outcome
from telemetry.releases import ReleaseError
from telemetry.uplink import UplinkUnavailable


async def outcome_of(thing: str, install: Callable[[], Awaitable[bool]]) -> Outcome:
    """What became of *install*, which says whether the *thing* (release, model) was in force already.

    ``restart`` of the outcome says that it takes effect with a new start.
    """
    try:
        in_force = await install()
    except UplinkUnavailable as error:
        return Outcome("failed", f"the {thing} could not be fetched: {error}")
    except (ReleaseError, ConfigurationError) as error:
        return Outcome("refused", str(error))
    except OSError as error:
        return Outcome("failed", f"the {thing} could not be kept: {error.strerror}")
    return Outcome("done", facts={"in_force": in_force}, restart=not in_force)
