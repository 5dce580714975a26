"""People and their log-ins: Argon2id passwords, lock-out, sessions whose tokens are kept as digests only."""

from __future__ import annotations

import hashlib
import secrets
import threading
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from server.audit import CONSOLE, Actor, note, person, stranger
from server.boxes.keys import CENTRES_OWN
from server.models import EnrolmentCode, LoginSession, Region, Site, User
from server.policy import ROLES, SITE_ROLES

FAILED_LOGINS_MAX = 5
LOCK_OUT = timedelta(minutes=15)
SESSION_LIFE = timedelta(hours=12)
CODE_LIFE = timedelta(hours=24)
PASSWORD_CHARACTERS_MIN, PASSWORD_CHARACTERS_MAX = 10, 200
NAME_CHARACTERS_MAX = 64
HASHES_AT_ONCE_MAX = 8
_hasher = PasswordHasher()
_hashing = threading.BoundedSemaphore(HASHES_AT_ONCE_MAX)


@cache
def _dummy_hash() -> str:
    """Spent on unknown names, so that timing tells nothing; `warm_up` makes it before anybody asks."""
    return _hasher.hash(secrets.token_hex(8))


def warm_up() -> None:
    """Make what the first log-in would have to wait for; a command that logs nobody in does without."""
    _dummy_hash()


class AccountError(Exception):
    """What is wrong with an account that somebody wants to make."""


class LoginRefused(Exception):
    """``code`` is ``wrong_login``, ``locked_out`` or ``busy`` (too many log-ins at this moment)."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def ensure_site(
    db: Session, name: str, time_zone: str = "Asia/Shanghai", region: Region | None = None, actor: Actor = CONSOLE
) -> Site:
    """The site of that name, made if there is none; with *region* it lies there from now on. Raises AccountError."""
    if not 0 < len(name) <= 120:
        raise AccountError("the name of a site has 1 to 120 characters")
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise AccountError(f"there is no time zone {time_zone!r}; give one like Asia/Shanghai") from error
    site = db.scalar(select(Site).where(Site.name == name))
    if site is None:
        site = Site(name=name, time_zone=time_zone, region=region)
        db.add(site)
        db.flush()
        note(db, actor, "site.add", ("site", site.id), {"name": name}, site_id=site.id)
    elif region is not None and site.region_id != region.id:
        site.region = region
        db.flush()
        note(db, actor, "site.move", ("site", site.id), {"region": region.path}, site_id=site.id)
    return site


def check_binding(role: str, site: Site | None, region: Region | None) -> None:
    """Whether a role may be bound so; raises AccountError."""
    if role not in ROLES:
        raise AccountError(f"the role {role!r} is none of {', '.join(ROLES)}")
    if role in SITE_ROLES and (site is None or region is not None):
        raise AccountError(f"{role} need a site (--site), and no region")
    if role not in SITE_ROLES and site is not None:
        raise AccountError(f"{role} have no site; give a region (--region), or none for the whole instance")


def check_password(password: str) -> None:
    """Whether a password is long enough; raises AccountError."""
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        raise AccountError(f"the password needs at least {PASSWORD_CHARACTERS_MIN} characters, and at most 200")


def add_user(
    db: Session,
    username: str,
    display_name: str,
    password: str,
    role: str,
    site: Site | None = None,
    region: Region | None = None,
    actor: Actor = CONSOLE,
) -> User:
    """Make an account; raises AccountError."""
    check_binding(role, site, region)
    if not 0 < len(username) <= NAME_CHARACTERS_MAX or not 0 < len(display_name) <= NAME_CHARACTERS_MAX:
        raise AccountError(f"a user name and a shown name have 1 to {NAME_CHARACTERS_MAX} characters")
    check_password(password)
    if db.scalar(select(User.id).where(User.username == username)) is not None:
        raise AccountError(f"there is a user {username!r} already")
    user = User(
        username=username,
        display_name=display_name,
        password_hash=_hasher.hash(password),
        role=role,
        site_id=site.id if site else None,
        region=region,
    )
    db.add(user)
    db.flush()
    _note_user(db, actor, "user.add", user)
    return user


def _note_user(db: Session, actor: Actor, action: str, user: User) -> None:
    detail = {"username": user.username, "role": user.role, "region": user.region.path if user.region else None}
    note(db, actor, action, ("user", user.id), detail, site_id=user.site_id)


def user_named(db: Session, username: str) -> User:
    """The account of that name; raises AccountError."""
    user = db.scalar(select(User).where(User.username == username))
    if user is None:
        raise AccountError(f"there is no user {username!r}")
    return user


def end_sessions(db: Session, user: User) -> None:
    """Log a person out everywhere."""
    db.execute(delete(LoginSession).where(LoginSession.user_id == user.id))


def disable_user(db: Session, user: User, *, disabled: bool = True, actor: Actor = CONSOLE) -> None:
    """Shut an account out at once (its sessions end), or let it in again."""
    user.disabled = disabled
    if disabled:
        end_sessions(db, user)
    db.flush()
    _note_user(db, actor, "user.disable" if disabled else "user.enable", user)


def set_password(db: Session, user: User, password: str, actor: Actor = CONSOLE) -> None:
    """A new password; whoever is logged in with the old one is out, and a lock-out ends. Raises AccountError."""
    check_password(password)
    user.password_hash, user.failed_logins, user.locked_until = _hasher.hash(password), 0, None
    end_sessions(db, user)
    db.flush()
    _note_user(db, actor, "user.password", user)


def set_role(
    db: Session, user: User, role: str, site: Site | None, region: Region | None, actor: Actor = CONSOLE
) -> None:
    """Another role, bound anew; the sessions under the old one end. Raises AccountError."""
    check_binding(role, site, region)
    user.role, user.site_id, user.region = role, site.id if site else None, region
    end_sessions(db, user)
    db.flush()
    _note_user(db, actor, "user.role", user)


def start_login(db: Session, username: str) -> str:
    """The hash to check the password against; one as well for a name that nobody has or that is locked."""
    user = db.scalar(select(User).where(User.username == username))
    out = user is None or user.disabled or is_locked(user)
    return _dummy_hash() if out or user is None else user.password_hash


def password_fits(password_hash: str, password: str) -> bool:
    """Slow and hungry on purpose (64 MiB), so call it outside of a transaction; raises LoginRefused("busy")."""
    if not _hashing.acquire(blocking=False):
        raise LoginRefused("busy")
    try:
        return _hasher.verify(password_hash, password)
    except VerifyMismatchError:
        return False
    finally:
        _hashing.release()


def judge_login(db: Session, username: str, fits: bool, remote_addr: str = "") -> User:
    """Whose password it was; raises LoginRefused (the count of failures must still be committed).

    A name that nobody has is not put on record: people type their password there by mistake.
    """
    user = db.scalar(select(User).where(User.username == username))
    if user is None or user.disabled:
        known = ("user", user.id if user else "")
        note(db, stranger(remote_addr), "login.failed", known, site_id=user.site_id if user else None)
        raise LoginRefused("wrong_login")
    if is_locked(user):
        raise LoginRefused("locked_out")
    if not fits:
        count_failure(db, user, remote_addr)
        raise LoginRefused("wrong_login")
    return user


def count_failure(db: Session, user: User, remote_addr: str) -> None:
    """A wrong password or code; enough of them lock the account out."""
    user.failed_logins += 1
    note(db, stranger(remote_addr), "login.failed", ("user", user.id), site_id=user.site_id)
    if user.failed_logins >= FAILED_LOGINS_MAX:
        user.failed_logins, user.locked_until = 0, datetime.now(UTC) + LOCK_OUT
        note(db, stranger(remote_addr), "login.locked_out", ("user", user.id), site_id=user.site_id)


def open_session(
    db: Session, user: User, remote_addr: str = "", *, second_factor: bool = False, issuer: str = ""
) -> tuple[str, LoginSession]:
    """A fresh session and its secret token, for somebody who has shown what is asked for, here or at an *issuer*."""
    now = datetime.now(UTC)
    user.failed_logins, user.locked_until = 0, None
    db.execute(delete(LoginSession).where(LoginSession.expires_at <= now))
    token = secrets.token_urlsafe(32)
    session = LoginSession(
        token_sha256=digest(token), user=user, csrf_token=secrets.token_urlsafe(24), expires_at=now + SESSION_LIFE,
        second_factor=second_factor,
    )  # fmt: skip
    db.add(session)
    detail = {"issuer": issuer} if issuer else None
    note(db, person(user, remote_addr), "login", ("user", user.id), detail, site_id=user.site_id)
    return token, session


def finish_login(db: Session, username: str, fits: bool, remote_addr: str = "") -> tuple[str, LoginSession]:
    """A session by the password alone; raises LoginRefused."""
    return open_session(db, judge_login(db, username, fits, remote_addr), remote_addr)


def is_locked(user: User, now: datetime | None = None) -> bool:
    """Whether wrong passwords or codes have locked the account out."""
    now = now or datetime.now(UTC)
    return user.locked_until is not None and user.locked_until > now


def find_session(db: Session, token: str) -> LoginSession | None:
    """The live session of a token."""
    session = db.get(LoginSession, digest(token))
    live = session is not None and session.expires_at > datetime.now(UTC) and not session.user.disabled
    return session if live else None


def log_out(db: Session, token: str, remote_addr: str = "") -> None:
    session = db.get(LoginSession, digest(token))
    if session is not None:
        note(db, person(session.user, remote_addr), "logout", ("user", session.user_id), site_id=session.user.site_id)
        db.delete(session)


def make_enrolment_code(db: Session, site: Site, actor: Actor = CONSOLE, box_id: str | None = None) -> str:
    """A one-time code for one box of *site*, good for a day; with *box_id* for that box to get a new key.

    Raises ValueError for what stands for other systems: the centre itself signs for them.
    """
    if box_id is not None and box_id.startswith(CENTRES_OWN):
        raise ValueError(
            f"{box_id} stands for other systems of its site: the centre signs for it, no box can enrol as it"
        )
    code = "-".join(secrets.token_hex(3) for _ in range(3))
    expires_at = datetime.now(UTC) + CODE_LIFE
    db.add(EnrolmentCode(code_sha256=digest(code), site_id=site.id, expires_at=expires_at, box_id=box_id))
    note(db, actor, "enrolment.code", ("site", site.id), {"box": box_id} if box_id else None, site_id=site.id)
    return code
