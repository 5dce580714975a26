"""The JSON API of API tokens: people see, make and revoke their own."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from server import tokens
from server.access import needs
from server.deps import (
    AppState,
    CsrfDep,
    RemoteDep,
    StateDep,
    UserDep,
    look_up,
    transact,
)
from server.models import User
from server.models_access import ApiToken
from server.problems import Problem

router = APIRouter(prefix="/api/v1/tokens", tags=["tokens"])
TokenId = Annotated[int, Path(ge=1, le=2**53)]
PlaceId = Annotated[int, Field(ge=1, le=2**53)]


class TokenRequest(BaseModel):
    """A token to make, bound to a site or a region if one is given."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "dashboard", "permissions": ["alert.read"], "days": 90}]},
    )

    name: Annotated[str, Field(min_length=1, max_length=tokens.NAME_CHARACTERS_MAX)]
    permissions: Annotated[list[Annotated[str, Field(max_length=40)]], Field(min_length=1, max_length=64)]
    days: Annotated[int, Field(ge=1, le=tokens.LIFE_DAYS_MAX)] = 90
    site_id: PlaceId | None = None
    region_id: PlaceId | None = None
    watched: Annotated[bool, Field(description="the silence of the gateways that write with it is an alert")] = False


class TokenAnswer(BaseModel):
    """A token without its secret."""

    id: int
    name: str
    permissions: list[str]
    site_id: int | None
    region_id: int | None
    watched: bool
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


class MadeToken(TokenAnswer):
    """A new token with its secret, which is shown this once."""

    token: str


class TokenList(BaseModel):
    """The caller's tokens, newest first."""

    tokens: list[TokenAnswer]


def token_json(token: ApiToken) -> dict[str, Any]:
    """A token as the API shows it."""
    return {name: getattr(token, name) for name in TokenAnswer.model_fields}


@router.get("", dependencies=[needs("token.manage")])
def list_own(user: UserDep, state: StateDep) -> TokenList:
    """The caller's tokens that were not revoked."""
    found = look_up(state, lambda db: tokens.list_tokens(db, user))
    return TokenList(tokens=[TokenAnswer.model_validate(token_json(token)) for token in found])


@router.post("", status_code=201, dependencies=[needs("token.manage"), CsrfDep])
def make(wanted: TokenRequest, user: UserDep, state: StateDep, remote: RemoteDep) -> MadeToken:
    """Make a token; its secret is in this answer and nowhere else."""
    secret, token = _make(state, user, wanted, remote)
    return MadeToken.model_validate({**token_json(token), "token": secret})


def _make(state: AppState, user: User, wanted: TokenRequest, remote: str) -> tuple[str, ApiToken]:
    try:
        return transact(
            state,
            lambda db: tokens.make_token(
                db, user, wanted.name, wanted.permissions, wanted.days, wanted.site_id, wanted.region_id,
                watched=wanted.watched, remote_addr=remote,
            ),
        )  # fmt: skip
    except tokens.TokenError as error:
        raise Problem(422, error.code, str(error)) from error


@router.delete("/{token_id}", status_code=204, dependencies=[needs("token.manage"), CsrfDep])
def revoke(token_id: TokenId, user: UserDep, state: StateDep, remote: RemoteDep) -> Response:
    """End a token at once."""
    end_token(state, user, token_id, remote)
    return Response(status_code=204)


def end_token(state: AppState, user: User, token_id: int, remote: str) -> None:
    if not transact(state, lambda db: tokens.revoke_token(db, user, token_id, remote)):
        raise Problem(404, "unknown_token", "you have no such token")
