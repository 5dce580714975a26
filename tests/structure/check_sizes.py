"""Fails when a source file has more than 400 lines or a function more than 70: small parts can be read and replaced."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("edge", "vision", "telemetry", "firmware_sim", "server", "tests")


def too_large(path: Path) -> list[str]:
    """The complaints about one file, as ``file:line: what``."""
    text = path.read_text("utf-8")
    name = path.relative_to(ROOT)
    lines = text.count("\n")
    found = [f"{name}:1: {lines} lines, at most {FILE_LINES_MAX}"] if lines > FILE_LINES_MAX else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                found.append(f"{name}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES_MAX}")
    return found


def main() -> int:
    found = [
        line
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "versions" not in path.parts
        for line in too_large(path)
    ]
    sys.stdout.write("".join(f"{line}\n" for line in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
