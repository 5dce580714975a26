"""centre.yaml: what is wrong is said by its place, a secret is never shown, and production starts with nothing weak."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from server.production import check_production, network_file_system
from server.series.settings import Influx1Series
from server.settings import CentreFile, FolderBlobs, PostgresRecord, S3Blobs, Settings, load_settings
from tests.server.centre import ROOT, run_cli
from tests.services import missing
from tests.small_font import make_small_font

SECRET = "s3cret-value-of-a-good-length"
POSTGRES = "database:\n  type: postgresql\n  url: postgresql+psycopg://brightline@127.0.0.1:5432/brightline\n"
S3 = "blobs:\n  type: s3\n  url: http://127.0.0.1:9000\n  bucket: evidence\n"


def load(folder: Path, text: str) -> CentreFile:
    (folder / "centre.yaml").write_text(text, "utf-8")
    return load_settings(None, folder)


def test_without_a_file_or_with_an_empty_one_all_is_in_the_data_folder(tmp_path: Path) -> None:
    assert load_settings(None, tmp_path) == CentreFile() == load(tmp_path, "# nothing yet\n")
    assert Settings(data_dir=tmp_path).blob_dir == tmp_path / "blobs"


def test_the_sample_loads_and_may_be_used_in_production(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY", "OIDC_CLIENT_SECRET"):
        monkeypatch.setenv(f"BRIGHTLINE_{name}", SECRET)
    file = load_settings(ROOT / "configs" / "centre-sample.yaml", tmp_path)
    assert isinstance(file.database, PostgresRecord)
    assert isinstance(file.blobs, S3Blobs)
    assert file.database.sqlalchemy_url.password == SECRET
    assert SECRET not in repr(file) + str(file) + str(file.database.sqlalchemy_url)
    settings = Settings(data_dir=tmp_path, mode=file.mode, database=file.database, blobs=file.blobs, oidc=file.oidc)
    assert settings.oidc is not None
    check_production(settings, None)


def test_secrets_and_folders_are_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{SECRET}\n", "utf-8")
    file = load(tmp_path, f"{POSTGRES}  password: {{file: password}}\nblobs: {{type: folder, folder: pictures}}\n")
    assert isinstance(file.database, PostgresRecord)
    assert file.database.sqlalchemy_url.password == SECRET
    assert file.blobs == FolderBlobs(folder=tmp_path / "pictures")


def test_a_font_for_reports_is_found_beside_the_file_and_one_without_chinese_refused(tmp_path: Path) -> None:
    font = make_small_font(tmp_path)
    if font is None:
        missing("no font with Chinese characters is installed (fonts-noto-cjk)")
    assert load(tmp_path, "report_font: {regular: regular.otf, bold: bold.otf}").report_font == font
    make_small_font(tmp_path, "only Latin")
    with pytest.raises(ValueError, match=r"report_font: .*regular.otf lacks Chinese or Latin characters"):
        load(tmp_path, "report_font: {regular: regular.otf, bold: bold.otf}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mode: [", "centre.yaml:1: is no YAML"),
        ("- a", "centre.yaml: Input should be a valid dictionary"),
        ("colour: red", "centre.yaml: colour: Extra inputs are not permitted"),
        ("report_font: {regular: centre.yaml, bold: centre.yaml}", "centre.yaml is no TrueType or OpenType font"),
        ("report_font: {regular: away.otf, bold: away.otf}", "away.otf is no TrueType or OpenType font"),
        ("report_font: {regular: a.ttc, bold: a.ttc, face: -1}", "report_font.face: Input should be greater"),
        ("mode: fast", "centre.yaml: mode: Input should be 'development' or 'production'"),
        ("database: {type: mysql}", "centre.yaml: database: Input tag 'mysql'"),
        (f"{POSTGRES}  colour: red", "centre.yaml: database.colour: Extra inputs"),
        (f"{POSTGRES}  password: {SECRET}", "centre.yaml: database.password: must be {env: NAME} or {file: PATH}"),
        (f"{POSTGRES}  password: {{env: NO_SUCH_VARIABLE}}", "has no variable NO_SUCH_VARIABLE; set it"),
        (f"{POSTGRES}  password: {{env: '{SECRET}'}}", "env takes the name of an environment variable"),
        (f"{POSTGRES}  password: {{file: nowhere}}", "database.password: the secret file cannot be read"),
        (f"{POSTGRES}  pool_size: 0", "database.pool_size: Input should be greater"),
        (f"{POSTGRES}  statement_timeout_s: 0", "database.statement_timeout_s: Input should be greater"),
        (POSTGRES.replace("brightline@", f"brightline:{SECRET}@"), "database.url: holds a password; give it as"),
        (POSTGRES.replace("+psycopg", ""), "database.url: must be postgresql+psycopg://user@host:port/database"),
        (POSTGRES.replace("127.0.0.1:5432", "127.0.0.1:x"), "database.url: must be postgresql+psycopg://"),
        (f"{POSTGRES}  ca_file: nowhere.pem", "database.ca_file: holds no certificates in PEM"),
        (S3, "blobs.access_key: Field required"),
        (f"{S3}  access_key: {SECRET}\n  secret_key: {SECRET}", "blobs.access_key: must be {env: NAME}"),
        (S3.replace("127.0.0.1:9000", "s3.example"), "blobs.url: "),
        (S3.replace("evidence", "../evidence"), "blobs.bucket: String should match"),
    ],
)
def test_what_is_wrong_is_named_by_its_place_and_shows_no_secret(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"centre\.yaml") as refused:
        load(tmp_path, text)
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)


def production(tmp_path: Path, **changes: Any) -> Settings:
    return Settings.model_validate({"data_dir": tmp_path, "mode": "production", **changes})


def postgres(**changes: Any) -> PostgresRecord:
    url = f"postgresql+psycopg://brightline@{changes.pop('host', '127.0.0.1')}/brightline"
    return PostgresRecord.model_validate({"type": "postgresql", "url": url, "password": SECRET, **changes})


def s3(**changes: Any) -> S3Blobs:
    keys = {"access_key": "brightline", "secret_key": SECRET}
    return S3Blobs.model_validate({"type": "s3", "url": "https://s3.example", "bucket": "evidence", **keys, **changes})


def influx(password: str | None) -> Influx1Series:
    secret = SecretStr(password) if password else None
    return Influx1Series(type="influxdb1", url="http://127.0.0.1:8086", database="b", username="b", password=secret)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"secure_cookies": False}, "--insecure-cookies: .*--tls-cert"),
        ({"database": postgres(password=None)}, "database.password: there is none; set it to"),
        ({"database": postgres(password="Postgres")}, "database.password: everybody knows this one; make a new one"),
        ({"database": postgres(password="short")}, "database.password: it has fewer than 12 characters; make"),
        ({"database": postgres(host="db.example")}, "database.sslmode: with prefer .* set it to verify-full"),
        ({"blobs": s3(secret_key="minioadmin")}, "blobs.secret_key: everybody knows this one"),
        ({"series": influx(None)}, "password of the series: there is none"),
        ({"series": influx("influxdb")}, "password of the series: everybody knows this one"),
    ],
)
def test_production_refuses_what_is_weak_and_names_setting_and_remedy(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        check_production(production(tmp_path, **changes), None)
    assert str(refused.value).count("\n") == 1, "one line for the one fault"
    assert SECRET not in str(refused.value)
    check_production(production(tmp_path, **changes).model_copy(update={"mode": "development"}), None)


def test_production_refuses_the_demo_broker_and_sqlite_on_a_network_path(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/x {tmp_path / 'far'} nfs4 rw 0 0\n", "utf-8")
    far = tmp_path / "far" / "data"
    assert (network_file_system(far, mounts), network_file_system(tmp_path / "farther", mounts)) == ("nfs4", None)
    with pytest.raises(ValueError, match=r"--demo-broker: .*\n.*--data: SQLite .* \(nfs4\); use a local disk"):
        check_production(production(far), 1883, mounts)
    check_production(production(far, database=postgres()), None, mounts)
    check_production(production(tmp_path / "near"), None, mounts)


def test_serve_in_production_says_why_it_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "centre.yaml").write_text("mode: production\n", "utf-8")
    done = run_cli("serve", "--port", "0", "--insecure-cookies", "--data", str(tmp_path), check=False)
    assert done.returncode == 2
    assert "mode: production refuses to start:\n  --insecure-cookies: " in done.stderr


def test_the_environment_names_folder_and_settings_for_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "elsewhere.yaml"
    settings.write_text("colour: red\n", "utf-8")
    monkeypatch.setenv("BRIGHTLINE_DATA", str(tmp_path / "data"))
    assert run_cli("migrate").returncode == 0
    assert (tmp_path / "data" / "record.sqlite").exists()
    monkeypatch.setenv("BRIGHTLINE_SETTINGS", str(settings))
    done = run_cli("migrate", check=False)
    assert (done.returncode, "elsewhere.yaml: colour" in done.stderr) == (2, True)
