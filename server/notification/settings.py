"""How notices leave this instance: one small YAML file, checked whole before anything starts; secrets by reference."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from server.notification.egress import check_url
from server.notification.rules import Rules, Tier, default_rules, load_rules
from server.series.settings import read_secret
from server.settings_file import read_yaml
from telemetry.server_url import check_server_url

FILE_NAME = "notification.yaml"
SECRET_BYTES_MIN = 24  # Standard Webhooks: 24 to 64 bytes
_HOST = re.compile(r"(?:[a-z0-9.-]{1,253}|[0-9a-f:]{2,45}):[0-9]{1,5}")
_CONTACT = re.compile(r"mailto:[^\s@]+@[^\s@]+|https://[^\s]+")


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError("must be host:port, in lower case")
    return value


TrustedHost = Annotated[str, AfterValidator(_host)]


def _contact(value: str) -> str:
    if not _CONTACT.fullmatch(value):
        raise ValueError("must be mailto:name@example.org or https://...")
    return value


def _webhook_secret(value: SecretStr) -> SecretStr:
    secret_bytes(value)
    return value


def secret_bytes(secret: SecretStr) -> bytes:
    """The key in ``whsec_<base64>`` (Standard Webhooks); raises ValueError without showing it."""
    text = secret.get_secret_value()
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if not text.startswith("whsec_") or not SECRET_BYTES_MIN <= len(key) <= 64:
        raise ValueError("must be whsec_ and 24 to 64 bytes in base64")
    return key


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Webhook(_Section):
    """An upper-level platform that is sent the feed. ``secrets``: newest first; while there are two, both sign.

    With a ``region`` (``Province/City/District/Station``) it is sent only what happens there.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
    url: str
    secrets: Annotated[list[Annotated[SecretStr, AfterValidator(_webhook_secret)]], Field(min_length=1, max_length=2)]
    tiers: Annotated[list[Tier], Field(min_length=1)] = [1, 2, 3]
    region: Annotated[str, Field(min_length=1, max_length=330)] | None = None
    age_max_s: Annotated[int, Field(ge=60, le=30 * 86_400)] = 3 * 86_400


class NotificationSettings(_Section):
    """``public_url``: where people open the centre; without it a message holds no link, and push only a path.

    ``trusted_hosts`` (``host:port``): the only ones that may be on the inside, plain HTTP, or a JSON channel's.
    """

    public_url: Annotated[str, AfterValidator(check_server_url), Field(max_length=200)] | None = None
    contact: Annotated[str, AfterValidator(_contact), Field(max_length=200)] | None = None
    mail_url: SecretStr | None = None
    trusted_hosts: Annotated[list[TrustedHost], Field(max_length=100)] = []
    webhooks: Annotated[list[Webhook], Field(max_length=20)] = []
    rules: Rules = Field(default_factory=default_rules)
    lease_s: Annotated[float, Field(ge=2, le=600)] = 60.0
    timeout_s: Annotated[float, Field(gt=0, le=30)] = 10.0

    @model_validator(mode="after")
    def _fits(self) -> NotificationSettings:
        if self.mail_url and urlsplit(self.mail_url.get_secret_value()).scheme not in ("mailto", "mailtos"):
            raise ValueError("mail_url must be mailto://... or mailtos://...")
        names = [hook.name for hook in self.webhooks]
        if len(set(names)) != len(names):
            raise ValueError("two webhooks have the same name")
        for hook in self.webhooks:
            check_url(hook.url, self.trusted_hosts)
        return self


def load_notification(data_dir: Path) -> NotificationSettings:
    """The settings in the data folder's ``notification.yaml``, else those of the product; raises ValueError."""
    path = data_dir / FILE_NAME
    if not path.exists():
        return NotificationSettings()
    data = _read(path)
    try:
        return NotificationSettings.model_validate(_resolved(data, path))
    except ValidationError as error:
        found = [f"{path}: {'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg']}" for item in error.errors()]
        raise ValueError("\n".join(found)) from None


def _read(path: Path) -> dict[str, Any]:
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise ValueError(f"{path}: must hold settings by their names")
    return data


def _resolved(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """The settings with the secrets and the rules that they refer to."""
    found = dict(data)
    if found.get("mail_url") is not None:
        found["mail_url"] = read_secret(found["mail_url"], path, "mail_url")
    if found.get("rules") is not None:
        found["rules"] = load_rules(path.parent / str(found["rules"]))
    hooks = found.get("webhooks")
    if isinstance(hooks, list):
        found["webhooks"] = [_hook(hook, path) if isinstance(hook, dict) else hook for hook in hooks]
    return found


def _hook(hook: dict[str, Any], path: Path) -> dict[str, Any]:
    secrets = hook.get("secrets")
    if not isinstance(secrets, list):
        return hook
    return {**hook, "secrets": [read_secret(item, path, "webhooks.secrets") for item in secrets]}
