"""What the centre may ask of this box: nothing, unless it is named here."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from telemetry.commands import CommandKind
from telemetry.signing import PublicKey


def _key(text: str) -> str:
    PublicKey.from_b64(text)
    return text


class RemoteSection(BaseModel):
    """``centre_key``: the centre's public key, for a box that was enrolled before it was told one.

    ``trial_s``: how long at least the box runs with a release from the centre before it has proved itself.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    allow: Annotated[tuple[CommandKind, ...], Field(max_length=16)] = ()
    trial_s: Annotated[float, Field(gt=0, le=3_600)] = 60.0
    centre_key: Annotated[str, Field(max_length=64), AfterValidator(_key)] | None = None
