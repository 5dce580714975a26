"""``oidc`` in centre.yaml: what is wrong is named by its place, and production takes nothing weak."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.oidc.settings import OidcSettings
from server.production import check_production
from server.settings import CentreFile, Settings, load_settings

SECRET = "s3cret-value-of-a-good-length"
GOOD = {
    "issuer": "https://id.example/realms/city",
    "client_id": "brightline",
    "client_secret": "{file: secret}",
    "name": "City ID",
    "public_url": "https://centre.example",
}


def load(folder: Path, secret: str = SECRET, **changes: str) -> CentreFile:
    (folder / "secret").write_text(f"{secret}\n", "utf-8")
    lines = [f"  {name}: {value}" for name, value in {**GOOD, **changes}.items()]
    (folder / "centre.yaml").write_text("\n".join(["oidc:", *lines]), "utf-8")
    return load_settings(None, folder)


def oidc(folder: Path, secret: str = SECRET, **changes: str) -> OidcSettings:
    found = load(folder, secret, **changes).oidc
    assert found is not None
    return found


def test_without_it_there_is_none_and_with_it_the_secret_is_read_and_not_shown(tmp_path: Path) -> None:
    assert CentreFile().oidc is None
    found = oidc(tmp_path, public_url="https://centre.example:8443/")
    assert found.client_secret.get_secret_value() == SECRET
    assert SECRET not in repr(found)
    assert found.callback_url == "https://centre.example:8443/oidc/callback"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"issuer": "http://id.example"}, "oidc: the issuer must be https://"),
        ({"issuer": "https://id.example/?a=1"}, "oidc: the issuer has no query"),
        ({"issuer": "https://id.example/#a"}, "oidc: the issuer must hold neither a password nor a fragment"),
        ({"issuer": "id.example"}, "oidc: the issuer must be an address"),
        ({"client_secret": SECRET}, "oidc.client_secret: must be {env: NAME} or {file: PATH}"),
        ({"client_id": "''"}, "oidc.client_id: String should have at least 1"),
        ({"public_url": "http://centre.example"}, "oidc.public_url: must be https://"),
        ({"public_url": "https://centre.example/kitchen"}, "oidc.public_url: must end after host and port"),
        ({"public_url": "https://centre.example/?next=x"}, "oidc.public_url: must end after host and port"),
        ({"public_url": "'https://centre.example#x'"}, "oidc.public_url: must end after host and port"),
        ({"public_url": "'https://centre.example?'"}, "oidc.public_url: must end after host and port"),
        ({"trusted_hosts": "[ID.example:443]"}, "oidc.trusted_hosts.0: must be host:port, in lower case"),
        ({"timeout_s": "0"}, "oidc.timeout_s: Input should be greater"),
        ({"colour": "red"}, "oidc.colour: Extra inputs are not permitted"),
    ],
)
def test_what_is_wrong_is_named_and_the_secret_is_not(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=r"centre\.yaml") as refused:
        load(tmp_path, **changes)
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("secret", "changes", "said"),
    [
        ("", {}, "oidc.client_secret: there is none; set it to"),
        ("changeme", {}, "oidc.client_secret: everybody knows this one"),
        ("short", {}, "oidc.client_secret: it has fewer than 12 characters"),
        (SECRET, {"issuer": "http://id.example", "trusted_hosts": "['id.example:80']"}, "oidc.issuer: .*https://"),
        (SECRET, {"public_url": "http://127.0.0.1:8000"}, "oidc.public_url: .*https://"),
    ],
)
def test_production_refuses_what_is_weak(tmp_path: Path, secret: str, changes: dict[str, str], said: str) -> None:
    settings = Settings(data_dir=tmp_path, mode="production", oidc=oidc(tmp_path, secret, **changes))
    with pytest.raises(ValueError, match=said) as refused:
        check_production(settings, None)
    assert str(refused.value).count("\n") == 1, "one line for the one fault"
    check_production(settings.model_copy(update={"mode": "development"}), None)
    check_production(settings.model_copy(update={"oidc": oidc(tmp_path)}), None)
