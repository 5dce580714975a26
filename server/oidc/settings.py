"""How the centre reaches a provider of identities: ``oidc`` in ``centre.yaml``. Nothing here connects."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from server.notification.egress import check_url
from server.notification.settings import TrustedHost
from server.settings_file import CaFile, Secret
from telemetry.server_url import check_server_url


def _public_url(text: str) -> str:
    parts = urlsplit(check_server_url(text))
    if parts.path or parts.query or parts.fragment or text.endswith(("?", "#")):
        raise ValueError("must end after host and port, as https://centre.example does")
    return parts.geturl()


class OidcSettings(BaseModel):
    """``public_url``: where browsers reach the centre; the provider must know ``public_url/oidc/callback``.

    ``trusted_hosts`` (``host:port``): the only ones of the provider that may be on the inside or plain HTTP.
    ``ca_file``: the CA of its certificate, in PEM, if it is none that everybody knows.
    ``trusts_second_factor``: a second factor that the provider tells of (claim ``amr``, RFC 8176) stands for ours.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    issuer: Annotated[str, Field(max_length=300)]
    client_id: Annotated[str, Field(min_length=1, max_length=200)]
    client_secret: Secret
    name: Annotated[str, Field(min_length=1, max_length=60)]
    public_url: Annotated[str, AfterValidator(_public_url), Field(max_length=200)]
    trusted_hosts: Annotated[list[TrustedHost], Field(max_length=10)] = []
    trusts_second_factor: bool = False
    ca_file: CaFile | None = None
    timeout_s: Annotated[float, Field(gt=0, le=30)] = 10.0

    @model_validator(mode="after")
    def _fits(self) -> OidcSettings:
        try:
            parts = check_url(self.issuer, self.trusted_hosts)
        except ValueError as error:
            raise ValueError(f"the issuer {error}") from None
        if parts.query:
            raise ValueError("the issuer has no query")
        return self

    @property
    def callback_url(self) -> str:
        """Where the provider sends the browser back to."""
        return f"{self.public_url}/oidc/callback"
