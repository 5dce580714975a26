"""A file of rules, read safely and checked whole before anything relies on it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

FILE_BYTES_MAX = 256 * 1024


class Section(BaseModel):
    """A part of a rules file; what it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Found = TypeVar("Found", bound=Section)


def read_section(path: Path, kind: type[Found]) -> Found:
    """What a YAML file says; raises ValueError as ``file: path: what is wrong``."""
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({type(error).__name__})") from None
    if len(raw) > FILE_BYTES_MAX:
        raise ValueError(f"{path}: has more than {FILE_BYTES_MAX} bytes")
    try:
        return kind.model_validate(yaml.safe_load(raw))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ValueError(f"{path}:{mark.line + 1 if mark else 1}: is no YAML") from None
    except ValidationError as error:
        found = [f"{path}: {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ValueError("\n".join(found)) from None
