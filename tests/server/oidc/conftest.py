"""One provider of identities, right in everything at the start of each test, and one centre that people sign in to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.server.oidc.identity_provider import IdentityProvider, settings_of
from tests.server.tenancy.district import District, Somebody, settled


@pytest.fixture(scope="session")
def served() -> Iterator[IdentityProvider]:
    made = IdentityProvider()
    yield made
    made.close()


@pytest.fixture
def idp(served: IdentityProvider) -> IdentityProvider:
    served.reset()
    return served


@pytest.fixture(scope="session")
def centre(
    served: IdentityProvider, tmp_path_factory: pytest.TempPathFactory, jpeg: Callable[..., bytes]
) -> Iterator[District]:
    """It asks auditors for a second factor, and trusts in the provider's."""
    data, oidc = tmp_path_factory.mktemp("oidc") / "data", settings_of(served, trusts_second_factor=True)
    with settled(data, jpeg, places=(), second_factor_roles={"auditor"}, oidc=oidc) as made:
        yield made


@pytest.fixture
def who(centre: District, idp: IdentityProvider) -> Somebody:
    """Somebody whose identity, known to nobody yet, is the one that the provider names now."""
    made = centre.somebody("regulator", "")
    idp.answers.subject = f"sub of {made.name}"
    return made
