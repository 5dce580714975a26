"""The second factor: time-based codes (RFC 6238, SHA-1, 6 digits, 30 s) and one-time recovery codes.

The secret is kept sealed by the key of the instance, recovery codes as digests. A code counts once: every code up to
the newest one taken is refused, also in a race, as the step is moved in the transaction that takes it. Wrong codes
count towards the account's lock-out like wrong passwords.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

import pyotp
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from server.accounts import digest
from server.audit import Actor, note
from server.instance_key import InstanceKey
from server.models import LoginSession, User
from server.models_access import RecoveryCode, TotpSecret

ISSUER = "Brightline"
STEP_S = 30
STEPS_AROUND = 1  # a clock that is a little off, or a code typed at the end of its time
DIGITS = 6
RECOVERY_CODES = 10


def is_enrolled(db: Session, user: User) -> bool:
    """Whether this person's log-in asks for a code."""
    secret = db.get(TotpSecret, user.id)
    return secret is not None and secret.confirmed_at is not None


def begin(db: Session, key: InstanceKey, user: User) -> str:
    """The secret (base32) to enrol with: the one that waits for its first code, or a new one."""
    row = db.get(TotpSecret, user.id)
    if row is not None:
        waiting = _open(key, row) if row.confirmed_at is None else None
        if waiting is not None:
            return waiting
        raise ValueError("the second factor is enrolled already")
    secret = pyotp.random_base32()
    db.add(TotpSecret(user_id=user.id, sealed=key.seal(secret.encode(), _purpose(user.id))))
    db.flush()
    return secret


def provisioning_uri(user: User, secret: str) -> str:
    """What the QR code says (otpauth://, the Key URI format that authenticator apps read)."""
    return pyotp.TOTP(secret, digits=DIGITS, interval=STEP_S).provisioning_uri(name=user.username, issuer_name=ISSUER)


def confirm(db: Session, key: InstanceKey, session: LoginSession, code: str, actor: Actor) -> list[str] | None:
    """Finish with the first code; gives the recovery codes, which are shown once. None if the code is not right.

    Of the person's sessions only this one has shown the factor.
    """
    user = session.user
    row = db.get(TotpSecret, user.id)
    if row is None or row.confirmed_at is not None or not _take_code(db, key, row, code):
        return None
    row.confirmed_at = datetime.now(UTC)
    mine = LoginSession.token_sha256 == session.token_sha256
    db.execute(update(LoginSession).where(mine).values(second_factor=True))
    note(db, actor, "second_factor.add", ("user", user.id), site_id=user.site_id)
    return renew_recovery_codes(db, user)


def renew_recovery_codes(db: Session, user: User) -> list[str]:
    """New ones instead of all of before."""
    db.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    codes = ["-".join(secrets.token_hex(3) for _ in range(3)) for _ in range(RECOVERY_CODES)]
    db.add_all(RecoveryCode(user_id=user.id, code_sha256=digest(code)) for code in codes)
    db.flush()
    return codes


def remove(db: Session, user: User, actor: Actor) -> None:
    """Take the second factor away, for who has lost it or leaves it; the person's sessions end."""
    db.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    db.execute(delete(TotpSecret).where(TotpSecret.user_id == user.id))
    db.execute(delete(LoginSession).where(LoginSession.user_id == user.id))
    note(db, actor, "second_factor.remove", ("user", user.id), site_id=user.site_id)


def check_code(db: Session, key: InstanceKey, user: User, code: str, actor: Actor) -> bool:
    """Whether this is a code of now that nobody has used, or an unused recovery code; it is used up by this."""
    row = db.get(TotpSecret, user.id)
    if row is None or row.confirmed_at is None:
        return False
    if _take_code(db, key, row, code):
        return True
    recovery = db.get(RecoveryCode, (user.id, digest(code.strip().lower())))
    if recovery is None or recovery.used_at is not None:
        return False
    recovery.used_at = datetime.now(UTC)
    left = db.scalars(
        select(RecoveryCode.code_sha256).where(RecoveryCode.user_id == user.id, RecoveryCode.used_at.is_(None))
    )
    note(db, actor, "second_factor.recovery", ("user", user.id), {"left": len(left.all())}, site_id=user.site_id)
    return True


def _take_code(db: Session, key: InstanceKey, row: TotpSecret, code: str) -> bool:
    secret = _open(key, row)
    digits = code.replace(" ", "")
    if secret is None or len(digits) != DIGITS or not digits.isascii() or not digits.isdecimal():
        return False
    totp = pyotp.TOTP(secret, digits=DIGITS, interval=STEP_S)
    now = int(datetime.now(UTC).timestamp()) // STEP_S
    steps = range(now - STEPS_AROUND, now + STEPS_AROUND + 1)
    fitting = [step for step in steps if secrets.compare_digest(totp.generate_otp(step), digits)]
    fresh = [step for step in fitting if step > row.last_step]
    if not fresh:
        return False
    row.last_step = fresh[0]
    db.flush()
    return True


def _open(key: InstanceKey, row: TotpSecret) -> str | None:
    plain = key.open(row.sealed, _purpose(row.user_id))
    return plain.decode() if plain is not None else None


def _purpose(user_id: int) -> str:
    return f"totp of user {user_id}"
