"""A file of rules, read safely and checked whole before anything relies on it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from server.settings_file import read_yaml

FILE_BYTES_MAX = 256 * 1024


class Section(BaseModel):
    """A part of a rules file; what it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Found = TypeVar("Found", bound=Section)


def read_section(path: Path, kind: type[Found]) -> Found:
    """What a YAML file says; raises ValueError as ``file: path: what is wrong``."""
    data = read_yaml(path, FILE_BYTES_MAX)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        found = [f"{path}: {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ValueError("\n".join(found)) from None
