"""The file behind a configuration: YAML with the line of every place in it, so that each problem can be told as
``file:line: path: what is wrong``. A resolved secret is never part of a problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from edge.config_checks import REFERENCES
from telemetry.plain_yaml import PlainLoader

FILE_BYTES_MAX = 1024 * 1024
_CREDENTIALS = re.compile(r"//[^/@]*@")
Path_ = tuple[str | int, ...]


class ConfigurationError(Exception):
    """What is wrong with the configuration, one line a problem."""


def read_yaml(path: Path, start: str = "start from configs/edge-sample.yaml") -> tuple[Any, dict[Path_, int]]:
    """The file's data and the line of each place in it; raises ConfigurationError. *start* helps with an empty one."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigurationError(f"{path}:1: file: has more than {FILE_BYTES_MAX} bytes")
        text = path.read_text("utf-8")
        node = yaml.compose(text, Loader=PlainLoader)
        if node is None:
            raise ConfigurationError(f"{path}:1: file: is empty; {start}")
        return yaml.load(text, Loader=PlainLoader), dict(lines_of(node, ()))  # noqa: S506 - it is a SafeLoader
    except OSError as error:
        problem = f"cannot be read ({error.strerror}); give the path of a YAML file"
        raise ConfigurationError(f"{path}:1: file: {problem}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}:1: file: is not UTF-8 text") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
        raise ConfigurationError(f"{path}:{mark.line + 1 if mark else 1}: file: {problem}") from error
    except (ValueError, RecursionError) as error:  # a date such as 2026-13-01, brackets thousands deep
        problem = (
            "is nested too deeply" if isinstance(error, RecursionError) else f"holds an impossible value ({error})"
        )
        raise ConfigurationError(f"{path}:1: file: {problem}") from error


def lines_of(node: yaml.Node, place: Path_) -> Iterator[tuple[Path_, int]]:
    """The line of every place under *node*."""
    yield place, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*place, str(key.value)), key.start_mark.line + 1
            yield from (
                (where, line)
                for where, line in lines_of(value, (*place, str(key.value)))
                if where != (*place, str(key.value))
            )
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from lines_of(value, (*place, index))


def problem_at(path: Path, lines: dict[Path_, int], place: Path_, text: str) -> str:
    """*place* is pydantic's: it holds the chosen ``type`` of a sensor too, which is no key of the file."""
    known: Path_ = ()
    for part in place[:-1]:
        if (*known, part) in lines:
            known = (*known, part)
    full = (*known, *place[-1:])
    name = ".".join(str(part) for part in full) or "file"
    return f"{path}:{lines.get(full, lines[known])}: {name}: {text}"


def sentence_of(item: Any, data: Any) -> str:
    """What is wrong, with the text that stands in the file: never a resolved secret, never an address's password."""
    if item["type"] == "extra_forbidden":
        return "unknown key; remove it or check its spelling"
    if item["type"] == "missing":
        return "is missing"
    if item["type"] == "union_tag_not_found":
        return f"type is missing; it is one of {', '.join(REFERENCES)}"
    return with_given(str(item["msg"]).removeprefix("Value error, "), item["loc"], data)


def with_given(message: str, place: Path_, data: Any) -> str:
    """*message* and the text at *place* in the file; nothing where a section or a secret's reference stands."""
    given = data
    for part in place:
        known = part in given if isinstance(given, dict) else isinstance(given, list) and isinstance(part, int)
        given = given[part] if known else given
    if isinstance(given, dict | list):
        return message
    return f"{message} (it is {_CREDENTIALS.sub('//', repr(given))[:200]})"
