"""`assets import`, `export` and `template`. Exit status 1 when the file is wrong; then nothing was taken."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.commands.port import Commands, changing, take_data
from server.settings import Settings

if TYPE_CHECKING:
    from server.assets.table_writing import Format

TABLES = ("sites", "contacts", "certificates", "cold_rooms", "sensors", "cameras")
LANGUAGES = ("zh-CN", "en")


def register(commands: Commands) -> None:
    assets = commands.add_parser("assets", help="sites and what they have, as CSV or XLSX")
    actions = assets.add_subparsers(dest="action", required=True)
    taken = actions.add_parser("import", help="take a file; nothing is taken unless all of it is well")
    taken.add_argument("file", type=Path)
    taken.add_argument("--dry-run", action="store_true", help="tell what would change and change nothing")
    taken.add_argument("--language", choices=LANGUAGES, default="en", help="of the report")
    take_data(taken, as_json=True)
    taken.set_defaults(run=_import)
    for name, about in (("export", "write what is on record"), ("template", "write headings to fill in")):
        command = actions.add_parser(name, help=about)
        command.add_argument("file", type=Path, help="NAME.xlsx, or NAME.csv with --table")
        command.add_argument("--table", choices=TABLES, help="one table; else all of them")
        command.add_argument("--language", choices=LANGUAGES, default="zh-CN", help="of the headings")
        take_data(command)
        command.set_defaults(run=_export if name == "export" else _template)


def _import(settings: Settings, args: argparse.Namespace) -> int:
    from server.assets.desk import check_file, take
    from server.assets.table_file import FILE_BYTES_MAX
    from server.audit import CONSOLE

    with args.file.open("rb") as file:
        data = file.read(FILE_BYTES_MAX + 1)
    with changing(settings) as db:
        checked = check_file(db, None, data)
        if not checked.plan.errors and not args.dry_run:
            take(db, None, checked.rows, CONSOLE)
    report = checked.say(args.language)
    if args.json:
        sys.stdout.write(json.dumps(report, ensure_ascii=False, indent=2) + "\n")
    else:
        _tell(report, dry_run=args.dry_run)
    return 1 if checked.plan.errors else 0


def _tell(report: dict[str, Any], *, dry_run: bool) -> None:
    for item in report["errors"]:
        place = " ".join(part for part in (item["sheet"], f"row {item['row']}", item["column"]) if part)
        sys.stdout.write(f"WRONG  {place}: {item['what']} {item['remedy']}\n")
    for item in report["changes"]:
        sys.stdout.write(f"{item['action']:6} {item['sheet']} row {item['row']}: {item['site']} {item['key']}\n")
    counts = report["counts"]
    done = "nothing taken" if report["errors"] or dry_run else "taken"
    told = "{add} new, {update} changed, {same} the same, {errors} wrong".format(**counts)
    sys.stdout.write(f"{told}: {done}\n")


def _format(args: argparse.Namespace) -> Format:
    suffix = args.file.suffix.lower()
    if suffix not in (".csv", ".xlsx"):
        raise ValueError(f"{args.file}: the name must end in .csv or .xlsx")
    if suffix == ".csv" and not args.table:
        raise ValueError("a CSV file holds one table; name it with --table")
    return "csv" if suffix == ".csv" else "xlsx"


def _export(settings: Settings, args: argparse.Namespace) -> int:
    from server.assets.desk import export_file, note_export
    from server.audit import CONSOLE

    format_ = _format(args)
    with changing(settings) as db:
        data = export_file(db, None, args.table or "", format_, args.language)
        note_export(db, CONSOLE, args.table or "", format_)
    args.file.write_bytes(data)
    return 0


def _template(settings: Settings, args: argparse.Namespace) -> int:
    del settings
    from server.assets.desk import template_file

    args.file.write_bytes(template_file(args.table or "", _format(args), args.language))
    return 0
