"""`user` and `enrol`: who may log in, and which boxes may speak."""

from __future__ import annotations

import argparse
import sys

from server.commands.port import Commands, changing, take_data
from server.settings import Settings


def register(commands: Commands) -> None:
    user = commands.add_parser("user", help="manage accounts").add_subparsers(dest="action", required=True)
    add = user.add_parser("add", help="make an account; the password is read from standard input")
    add.add_argument("username")
    add.add_argument("--name", required=True, help="the name that people see")
    add.add_argument("--role", required=True, choices=("staff", "regulator", "administrator"))
    add.add_argument("--site", help="the staff's site; made if there is none of that name")
    take_data(add)
    add.set_defaults(run=_add_user)
    enrol = commands.add_parser("enrol", help="print a one-time code for a new box")
    enrol.add_argument("--site", required=True, help="made if there is none of that name")
    enrol.add_argument("--time-zone", default="Asia/Shanghai")
    take_data(enrol)
    enrol.set_defaults(run=_enrol)


def _add_user(settings: Settings, args: argparse.Namespace) -> int:
    from server.accounts import add_user, ensure_site

    with changing(settings) as db:
        site = ensure_site(db, args.site) if args.site else None
        add_user(db, args.username, args.name, sys.stdin.readline().rstrip("\r\n"), args.role, site)
    sys.stdout.write(f"user {args.username} added\n")
    return 0


def _enrol(settings: Settings, args: argparse.Namespace) -> int:
    from server.accounts import ensure_site, make_enrolment_code

    with changing(settings) as db:
        code = make_enrolment_code(db, ensure_site(db, args.site, args.time_zone))
    sys.stdout.write(code + "\n")
    return 0
