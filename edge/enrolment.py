"""How a box becomes known at the centre: it makes its key, shows the public half and a one-time code, once.

The identity is written whole or not at all; a box that is enrolled already keeps its identity.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.config import ConfigurationError, EdgeConfig
from telemetry.messages import Identifier
from telemetry.signing import KeyFileError, Signer


class EnrolmentError(Exception):
    """The centre refused or could not be reached; the message says what to do."""


class Identity(BaseModel):
    """What the centre told the box at enrolment."""

    model_config = ConfigDict(frozen=True)

    box_id: Identifier
    site: str
    time_zone: str


def key_file(data_dir: Path) -> Path:
    return data_dir / "box.key"


def load_identity(config: EdgeConfig) -> tuple[Identity, Signer]:
    """The identity and key of an enrolled box; raises ConfigurationError with the remedy."""
    path = config.box.data_dir / "identity.json"
    try:
        return Identity.model_validate_json(path.read_text("utf-8")), Signer.load(key_file(config.box.data_dir))
    except OSError as error:
        raise ConfigurationError(
            f"{path}:1: the box is not enrolled; run: brightline-edge enrol CONFIG --code CODE"
        ) from error
    except (ValidationError, KeyFileError) as error:
        raise ConfigurationError(f"{path}:1: {error}") from error


def enrol(config: EdgeConfig, code: str) -> Identity:
    """Show the code to the centre and keep what it answers; raises EnrolmentError."""
    import httpx

    from telemetry.pinning import client_context

    data_dir = config.box.data_dir
    path = data_dir / "identity.json"
    if path.exists():
        raise EnrolmentError(f"{path} exists: this box is enrolled already; remove its data folder to start anew")
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    signer = Signer.load(key_file(data_dir)) if key_file(data_dir).exists() else Signer.generate()
    if not key_file(data_dir).exists():
        signer.save(key_file(data_dir))
    uplink = config.uplink
    context = client_context(config.server.ca_file, uplink.pins)
    request = {"code": code, "public_key": signer.public_key_b64, "name": config.box.name}
    try:
        with httpx.Client(verify=context, proxy=uplink.proxy, trust_env=False, timeout=15) as client:
            answer = client.post(f"{config.server.url}/api/v1/enrol", json=request)
    except httpx.HTTPError as error:
        raise EnrolmentError(
            f"{config.server.url} cannot be reached ({error}); check the address and the network"
        ) from error
    if answer.status_code != 201:
        raise EnrolmentError(f"the centre refused: HTTP {answer.status_code} {answer.text[:300]}")
    try:
        identity = Identity.model_validate_json(answer.content)
    except ValidationError as error:
        raise EnrolmentError("the centre's answer holds no identity; is this a Brightline centre?") from error
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(identity.model_dump_json(indent=2))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return identity
