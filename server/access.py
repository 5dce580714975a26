"""The rule of each route, declared at the route, so that it can be read off there and by the test of all routes.

``@router.get("/alerts", dependencies=[needs("alert.read")])``; a route open to more says ``open_to(...)``.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi import Depends

from server.deps import AppState, SessionDep, StateDep, look_up
from server.models import LoginSession, User
from server.policy import Permission, may
from server.problems import Problem
from server.second_factor import is_enrolled

Openness = Literal["everybody", "box", "logged_in", "first_factor"]


class NotAllowed(Problem):
    """Somebody's role has none of the permissions that a route needs."""

    def __init__(self) -> None:
        super().__init__(403, "not_allowed", "your role may not do this")


class SecondFactorMissing(Problem):
    """The settings ask this role for a second factor, and this log-in showed none: it is *enrolled* or still to be."""

    def __init__(self, enrolled: bool) -> None:
        first, again = "set a second factor up first, on the page /account", "log in again with your second factor"
        super().__init__(403, "second_factor_missing", again if enrolled else first)


class Needs:
    """Lets through whoever has one of the permissions, and gives the user."""

    def __init__(self, permissions: tuple[Permission, ...]) -> None:
        self.permissions = permissions

    def __call__(self, session: SessionDep, state: StateDep) -> User:
        if not any(may(session.user, permission) for permission in self.permissions):
            raise NotAllowed
        check_second_factor(session, state)
        return session.user


def check_second_factor(session: LoginSession, state: AppState) -> None:
    """Raises SecondFactorMissing where the role must have shown one at the log-in and has not."""
    if lacks_second_factor(session, state):
        raise SecondFactorMissing(look_up(state, lambda db: is_enrolled(db, session.user)))


def lacks_second_factor(session: LoginSession, state: AppState) -> bool:
    """Whether the role needs one and the log-in showed none."""
    return session.user.role in state.settings.second_factor_roles and not session.second_factor


class OpenTo:
    """Says that a route asks for no permission: everybody may, or a box (proved by its signature)."""

    def __init__(self, who: Openness) -> None:
        self.who = who

    async def __call__(self) -> None:
        return None


class LoggedIn(OpenTo):
    """Lets through whoever is logged in, with the second factor where the role must have one."""

    def __init__(self) -> None:
        super().__init__("logged_in")

    def __call__(self, session: SessionDep, state: StateDep) -> None:  # type: ignore[override]
        check_second_factor(session, state)


class FirstFactor(OpenTo):
    """Lets through whoever is logged in, also before the second factor: what is needed to set one up, or to leave."""

    def __init__(self) -> None:
        super().__init__("first_factor")

    async def __call__(self, session: SessionDep) -> None:  # type: ignore[override]
        return None


def needs(*permissions: Permission) -> Any:
    """The rule of a route: the caller has one of *permissions*."""
    return Depends(Needs(permissions))


def open_to(who: Openness) -> Any:
    """The rule of a route for which no permission is needed."""
    if who == "logged_in":
        return Depends(LoggedIn())
    return Depends(FirstFactor() if who == "first_factor" else OpenTo(who))
