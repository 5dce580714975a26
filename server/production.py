"""What a centre in production must not have. It does not start with any; each refusal names setting and remedy."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr

from server.settings import PostgresRecord, S3Blobs, Settings

SECRET_CHARACTERS_MIN = 12
# what installers and examples of these services come with
KNOWN_SECRETS = {
    "minioadmin",
    "postgres",
    "password",
    "changeme",
    "change-me",
    "brightline",
    "influxdb",
    "admin",
    "secret",
}
NETWORK_FILE_SYSTEMS = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "glusterfs",
    "lustre",
    "afs",
    "ocfs2",
    "gfs2",
}
REMEDY = "make a new one, such as with: openssl rand -hex 24"
MOUNTS = Path("/proc/self/mounts")


def check_production(settings: Settings, demo_broker_port: int | None, mounts: Path = MOUNTS) -> None:
    """Raises ValueError with every refusal; a centre in development is not looked at."""
    if settings.mode == "production":
        found = list(_refusals(settings, demo_broker_port, mounts))
        if found:
            raise ValueError("mode: production refuses to start:\n" + "\n".join(f"  {line}" for line in found))


def _refusals(settings: Settings, demo_broker_port: int | None, mounts: Path) -> Iterator[str]:
    if not settings.secure_cookies:
        yield "--insecure-cookies: log-ins could be read on the way; serve with --tls-cert and --tls-key instead"
    if demo_broker_port is not None:
        yield "--demo-broker: it has no passwords; leave it out and run a broker of your own"
    if isinstance(settings.database, PostgresRecord):
        yield from _of_postgres(settings.database)
    elif kind := network_file_system(settings.data_dir, mounts):
        yield (
            f"--data: SQLite loses data on a network file system ({kind}); use a local disk, or database: "
            "type: postgresql in the settings file"
        )
    if isinstance(settings.blobs, S3Blobs):
        yield from _of_secret("blobs.secret_key", settings.blobs.secret_key)
    if settings.oidc is not None:
        yield from _of_secret("oidc.client_secret", settings.oidc.client_secret)
        for name in ("issuer", "public_url"):
            if getattr(settings.oidc, name).startswith("http:"):
                yield f"oidc.{name}: on the way somebody could log in as anybody; set it to an https:// address"
    for name in ("password", "token"):
        secret = getattr(settings.series, name, None)
        if secret is not None or (not settings.series.in_record and hasattr(settings.series, name)):
            yield from _of_secret(f"{name} of the series", secret)


def _of_postgres(record: PostgresRecord) -> Iterator[str]:
    yield from _of_secret("database.password", record.password)
    if not _loopback(record.sqlalchemy_url.host or "") and record.sslmode != "verify-full":
        yield (
            f"database.sslmode: with {record.sslmode} somebody on the way can be the database; set it to verify-full, "
            "and ca_file for a private CA"
        )


def _of_secret(name: str, secret: SecretStr | None) -> Iterator[str]:
    text = secret.get_secret_value() if secret else ""
    if not text:
        yield f"{name}: there is none; set it to {{env: NAME}} or {{file: PATH}}"
    elif text.lower() in KNOWN_SECRETS:
        yield f"{name}: everybody knows this one; {REMEDY}"
    elif len(text) < SECRET_CHARACTERS_MIN:
        yield f"{name}: it has fewer than {SECRET_CHARACTERS_MIN} characters; {REMEDY}"


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def network_file_system(path: Path, mounts: Path = MOUNTS) -> str | None:
    """The kind of the network file system that *path* is or would be on, None for a local one (proc(5), mounts)."""
    wanted, best, kind = os.path.realpath(path), "", ""
    for line in mounts.read_text("utf-8", "replace").splitlines():
        _, point, type_, *_ = line.split(" ")
        folder = point.replace("\\040", " ").rstrip("/")
        if (wanted == folder or wanted.startswith(f"{folder}/")) and len(folder) >= len(best):
            best, kind = folder, type_
    return kind if kind in NETWORK_FILE_SYSTEMS or kind.startswith("fuse.") else None
