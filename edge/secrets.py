"""Secrets stand outside the configuration: ``{env: NAME}`` or ``{file: PATH}`` in place of a text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

SECRET_BYTES_MAX = 4096


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
    if name not in os.environ:
        raise SecretError(place, f"the environment has no variable {name}; set it for the service")
    return os.environ[name]


def _from_file(path: Path, place: tuple[str | int, ...]) -> str:
    try:
        with path.open("rb") as file:
            return file.read(SECRET_BYTES_MAX).decode().rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SecretError(place, f"cannot read the secret file {path} ({type(error).__name__})") from error
