"""How a box becomes known at the centre: it makes its key, shows the public half and a one-time code, once.

The identity is written whole or not at all; a box that is enrolled already keeps its identity.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.config import ConfigurationError, EdgeConfig
from telemetry.messages import Identifier
from telemetry.signing import KeyFileError, Signer
from telemetry.spool import write_whole


class EnrolmentError(Exception):
    """The centre refused or could not be reached; the message says what to do."""


class Identity(BaseModel):
    """What the centre told the box at enrolment."""

    model_config = ConfigDict(frozen=True)

    box_id: Identifier
    site: str
    time_zone: str
    centre_key: str = ""  # of an older centre, or an older box: none


def key_file(data_dir: Path) -> Path:
    return data_dir / "box.key"


def load_identity(config: EdgeConfig) -> tuple[Identity, Signer]:
    """The identity and key of an enrolled box; raises ConfigurationError with the remedy."""
    path = config.box.data_dir / "identity.json"
    try:
        return Identity.model_validate_json(path.read_text("utf-8")), Signer.load(key_file(config.box.data_dir))
    except OSError as error:
        raise ConfigurationError(
            f"{path}:1: file: the box is not enrolled; run: brightline-edge enrol CONFIG --code CODE"
        ) from error
    except KeyFileError as error:
        raise ConfigurationError(f"{path}:1: key: {error}") from error
    except ValueError as error:  # pydantic's ValidationError, or no UTF-8
        raise ConfigurationError(
            f"{path}:1: file: holds no identity; enrol the box again in an empty folder"
        ) from error


def enrol(config: EdgeConfig, code: str) -> Identity:
    """Show the code to the centre and keep what it answers; raises EnrolmentError."""
    import httpx

    from telemetry.pinning import client_context

    data_dir = config.box.data_dir
    path = data_dir / "identity.json"
    if path.exists():
        raise EnrolmentError(f"{path} exists: this box is enrolled already; remove its data folder to start anew")
    signer = _key(data_dir)
    ca_file, uplink = config.server.ca_file, config.uplink
    try:
        context = client_context(ca_file, uplink.pins)
    except OSError as error:  # ssl.SSLError is one
        raise EnrolmentError(f"{ca_file} holds no certificate in PEM ({error})") from error
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
    # the code is used up at the centre: the identity must outlive a power cut now
    write_whole(path, identity.model_dump_json(indent=2).encode())
    return identity


def _key(data_dir: Path) -> Signer:
    """The box's key: the one that is there, so that a second try shows the centre the same box, else a new one."""
    path = key_file(data_dir)
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists():
            return Signer.load(path)
        signer = Signer.generate()
        signer.save(path)
    except KeyFileError as error:
        raise EnrolmentError(str(error)) from error
    except OSError as error:
        raise EnrolmentError(f"{data_dir} cannot be written ({error.strerror})") from error
    return signer
