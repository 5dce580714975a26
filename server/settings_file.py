"""Reads a settings file in YAML: bounded, faults told by their place, and without ever showing a secret near one.

A secret does not stand in such a file but where ``{env: NAME}`` or ``{file: PATH}`` leads; a path is relative to the
folder of the file.
"""

from __future__ import annotations

import os
import re
import ssl
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo

FILE_BYTES_MAX = 64 * 1024
SECRET_BYTES_MAX = 4096
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_yaml(path: Path, bytes_max: int = FILE_BYTES_MAX) -> Any:
    """The content of a file; raises ValueError with its name and, for bad YAML, the line."""
    try:
        with path.open("rb") as file:
            raw = file.read(bytes_max + 1)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({type(error).__name__})") from None
    if len(raw) > bytes_max:
        raise ValueError(f"{path}: has more than {bytes_max} bytes")
    try:
        return yaml.safe_load(raw)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise ValueError(f"{path}:{line}: is no YAML") from None  # not shown: it may hold a secret


def secret_of(reference: Any, folder: Path) -> str:
    """What a reference leads to; raises ValueError without showing it."""
    if isinstance(reference, dict) and set(reference) == {"env"}:
        name = str(reference["env"])
        if not _VARIABLE.fullmatch(name):  # not shown: somebody may have put the secret itself here
            raise ValueError("env takes the name of an environment variable: letters, digits and _")
        if name not in os.environ:
            raise ValueError(f"the environment has no variable {name}; set it for the service")
        return os.environ[name]
    if isinstance(reference, dict) and set(reference) == {"file"}:
        try:
            with (folder / str(reference["file"])).open("rb") as file:
                raw = file.read(SECRET_BYTES_MAX + 1)
            if len(raw) > SECRET_BYTES_MAX:
                raise ValueError
            return raw.decode().rstrip("\r\n")
        except (OSError, ValueError):
            raise ValueError(f"the secret file cannot be read, or has over {SECRET_BYTES_MAX} bytes") from None
    raise ValueError("must be {env: NAME} or {file: PATH}; a secret does not stand in this file")


def _resolve(value: Any, info: ValidationInfo) -> Any:
    folder = (info.context or {}).get("folder")
    return value if folder is None or value is None else secret_of(value, folder)


def _beside(value: Any, info: ValidationInfo) -> Any:
    folder = (info.context or {}).get("folder")
    return folder / str(value) if folder is not None and value is not None else value


def check_certificates(path: Path) -> Path:
    """The path of a file of certificates in PEM; raises ValueError."""
    try:
        ssl.create_default_context(cafile=str(path))
    except OSError as error:
        raise ValueError("holds no certificates in PEM") from error
    return path


# in a model validated with the context ``{"folder": ...}``: a reference, and a path beside the file
Secret = Annotated[SecretStr, BeforeValidator(_resolve)]
FilePath = Annotated[Path, BeforeValidator(_beside)]
CaFile = Annotated[FilePath, AfterValidator(check_certificates)]
