"""One provider of identities for each module here; it is right in everything at the start of each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.oidc.identity_provider import IdentityProvider


@pytest.fixture(scope="module")
def served() -> Iterator[IdentityProvider]:
    made = IdentityProvider()
    yield made
    made.close()


@pytest.fixture
def idp(served: IdentityProvider) -> IdentityProvider:
    served.reset()
    return served
