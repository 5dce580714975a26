"""Secrets stand outside the configuration: ``{env: NAME}`` or ``{file: PATH}`` in place of a text."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

SECRET_BYTES_MAX = 4096
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


class SecretError(Exception):
    """A reference that leads nowhere; ``place`` is where it stands."""

    def __init__(self, place: tuple[str | int, ...], text: str) -> None:
        super().__init__(text)
        self.place = place


def resolve(value: Any, folder: Path, place: tuple[str | int, ...] = ()) -> Any:
    """*value* with every reference replaced by what it points to; raises SecretError."""
    if isinstance(value, dict):
        if set(value) == {"env"}:
            return _from_environment(str(value["env"]), place)
        if set(value) == {"file"}:
            return _from_file(folder / str(value["file"]), place)
        return {key: resolve(item, folder, (*place, str(key))) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, folder, (*place, index)) for index, item in enumerate(value)]
    return value


def _from_environment(name: str, place: tuple[str | int, ...]) -> str:
    if not _NAME.match(name):  # not shown: somebody may have put the secret itself here
        raise SecretError(place, "env takes the name of an environment variable: letters, digits and _")
    if name not in os.environ:
        raise SecretError(place, f"the environment has no variable {name}; set it for the service")
    return os.environ[name]


def _from_file(path: Path, place: tuple[str | int, ...]) -> str:
    try:
        with path.open("rb") as file:
            secret = file.read(SECRET_BYTES_MAX + 1)
        text = secret.decode().rstrip("\r\n")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a path that no file can have
        raise SecretError(place, f"cannot read the secret file {path} ({type(error).__name__})") from None
    if len(secret) > SECRET_BYTES_MAX:
        raise SecretError(place, f"the secret file {path} has more than {SECRET_BYTES_MAX} bytes")
    return text
