"""`user` and `enrol`: who may log in and as what, and which boxes may speak. Every change is in the audit log."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from server.commands.port import Commands, changing, need_record, opened, take_data
from server.policy import ROLES
from server.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from server.models import Region, Site

REGION = "PROVINCE/CITY/DISTRICT/STATION"


def register(commands: Commands) -> None:
    user = commands.add_parser("user", help="manage accounts").add_subparsers(dest="action", required=True)
    add = user.add_parser("add", help="make an account; the password is read from standard input")
    add.add_argument("username")
    add.add_argument("--name", required=True, help="the name that people see")
    _take_binding(add)
    take_data(add)
    add.set_defaults(run=_add_user)
    listed = user.add_parser("list", help="list the accounts")
    take_data(listed)
    listed.set_defaults(run=_list_users)
    disable = user.add_parser("disable", help="shut an account out and end its sessions")
    disable.add_argument("username")
    disable.add_argument("--undo", action="store_true", help="let it in again")
    take_data(disable)
    disable.set_defaults(run=_disable_user)
    password = user.add_parser("password", help="set a new password, read from standard input; its sessions end")
    password.add_argument("username")
    take_data(password)
    password.set_defaults(run=_set_password)
    factor = user.add_parser("reset-factor", help="take a lost second factor away; the account's sessions end")
    factor.add_argument("username")
    take_data(factor)
    factor.set_defaults(run=_reset_factor)
    role = user.add_parser("role", help="give an account another role, site or region; its sessions end")
    role.add_argument("username")
    _take_binding(role)
    take_data(role)
    role.set_defaults(run=_set_role)
    enrol = commands.add_parser("enrol", help="print a one-time code for a new box")
    of = enrol.add_mutually_exclusive_group(required=True)
    of.add_argument("--site", help="made if there is none of that name")
    of.add_argument("--box", metavar="ID", help="give this known box a new key: it was lost, replaced or revoked")
    enrol.add_argument("--region", metavar=REGION, help="where the site lies; made where missing")
    enrol.add_argument("--time-zone", default="Asia/Shanghai")
    take_data(enrol)
    enrol.set_defaults(run=_enrol)


def _take_binding(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--role", required=True, choices=ROLES)
    parser.add_argument("--site", help="where people of a site work; made if there is none of that name")
    parser.add_argument(
        "--region", metavar=REGION, help="what a regulator, auditor or administrator sees; made where missing"
    )


def _binding(db: Session, args: argparse.Namespace) -> tuple[Site | None, Region | None]:
    from server.accounts import ensure_site
    from server.regions import ensure_region

    site = ensure_site(db, args.site) if args.site else None
    return site, ensure_region(db, args.region) if args.region else None


def _add_user(settings: Settings, args: argparse.Namespace) -> int:
    from server.accounts import add_user

    with changing(settings) as db:
        site, region = _binding(db, args)
        add_user(db, args.username, args.name, sys.stdin.readline().rstrip("\r\n"), args.role, site, region)
    sys.stdout.write(f"user {args.username} added\n")
    return 0


def _list_users(settings: Settings, _: argparse.Namespace) -> int:
    from sqlalchemy import select
    from sqlalchemy.orm import Session

    from server.models import Site, User
    from server.regions import region_names

    need_record(settings)
    with opened(settings) as engine, Session(engine) as db:
        query = select(User, Site.name).outerjoin(Site, Site.id == User.site_id).order_by(User.username)
        for user, site in db.execute(query):
            where = site or (region_names(db, user.region) if user.region else "-")
            state = "disabled" if user.disabled else "active"
            sys.stdout.write("\t".join((user.username, user.role, where, state, user.display_name)) + "\n")
    return 0


def _disable_user(settings: Settings, args: argparse.Namespace) -> int:
    from server.accounts import disable_user, user_named

    with changing(settings) as db:
        disable_user(db, user_named(db, args.username), disabled=not args.undo)
    sys.stdout.write(f"user {args.username} {'enabled' if args.undo else 'disabled'}\n")
    return 0


def _set_password(settings: Settings, args: argparse.Namespace) -> int:
    from server.accounts import set_password, user_named

    with changing(settings) as db:
        set_password(db, user_named(db, args.username), sys.stdin.readline().rstrip("\r\n"))
    sys.stdout.write(f"user {args.username} has a new password\n")
    return 0


def _reset_factor(settings: Settings, args: argparse.Namespace) -> int:
    from server.accounts import user_named
    from server.audit import CONSOLE
    from server.second_factor import remove

    with changing(settings) as db:
        remove(db, user_named(db, args.username), CONSOLE)
    sys.stdout.write(f"user {args.username} has no second factor now\n")
    return 0


def _set_role(settings: Settings, args: argparse.Namespace) -> int:
    from server.accounts import set_role, user_named

    with changing(settings) as db:
        site, region = _binding(db, args)
        set_role(db, user_named(db, args.username), args.role, site, region)
    sys.stdout.write(f"user {args.username} is {args.role} now\n")
    return 0


def _enrol(settings: Settings, args: argparse.Namespace) -> int:
    from server.accounts import ensure_site, make_enrolment_code
    from server.models import Box
    from server.regions import ensure_region

    with changing(settings) as db:
        if args.box:
            box = db.get(Box, args.box)
            if box is None:
                raise ValueError(f"no box {args.box} is enrolled here")
            sys.stdout.write(make_enrolment_code(db, box.site, box_id=box.id) + "\n")
            return 0
        region = ensure_region(db, args.region) if args.region else None
        code = make_enrolment_code(db, ensure_site(db, args.site, args.time_zone, region))
    sys.stdout.write(code + "\n")
    return 0
