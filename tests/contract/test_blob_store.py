"""One suite for every blob store: a folder, and a real S3 server on a free port."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from pydantic import SecretStr

from server.blob_port import BlobDamaged, BlobStore, BlobsUnavailable
from server.blobs import open_blobs
from server.settings import FolderBlobs, S3Blobs, Settings
from tests.series_servers import Server, free_port

KEY, SECRET, BUCKET = "brightline", "a long enough secret", "evidence"


class S3Server(Server):
    """moto's S3 server, as a process of its own."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        super().__init__(folder, sys.executable, ["-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port)
        self.client.create_bucket(Bucket=BUCKET)

    @property
    def client(self) -> Any:
        """Somebody else who may do anything in the bucket."""
        return boto3.client(
            "s3", endpoint_url=self.url, aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1"
        )

    def blobs(self, **changes: Any) -> S3Blobs:
        keys = {"access_key": SecretStr(KEY), "secret_key": SecretStr(SECRET)}
        return S3Blobs.model_validate({"type": "s3", "url": self.url, "bucket": BUCKET, **keys, **changes})


class FolderRig:
    """A folder, and what somebody else does in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "pictures"
        self.settings = Settings(data_dir=folder, blobs=FolderBlobs(folder=self.folder))

    def overwrite(self, sha256: str, data: bytes) -> None:
        (self.folder / sha256[:2] / sha256).write_bytes(data)

    def names(self) -> list[str]:
        return [str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()]


class S3Rig:
    """A bucket, and what somebody else does in it."""

    def __init__(self, folder: Path, server: S3Server) -> None:
        self._client = server.client
        self.settings = Settings(data_dir=folder, blobs=server.blobs(prefix="pictures/"))

    def overwrite(self, sha256: str, data: bytes) -> None:
        self._client.put_object(Bucket=BUCKET, Key=f"pictures/{sha256[:2]}/{sha256}", Body=data)

    def names(self) -> list[str]:
        listed = self._client.list_objects_v2(Bucket=BUCKET, Prefix="pictures/").get("Contents", [])
        return [item["Key"].removeprefix("pictures/") for item in listed]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    yield server
    server.stop()


@pytest.fixture(scope="module", params=["folder", "s3"])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FolderRig | S3Rig:
    folder = tmp_path_factory.mktemp("blobs")
    return FolderRig(folder) if request.param == "folder" else S3Rig(folder, request.getfixturevalue("s3"))


@pytest.fixture(scope="module")
def store(rig: FolderRig | S3Rig) -> Iterator[BlobStore]:
    opened = open_blobs(rig.settings)
    yield opened
    opened.close()


@pytest.mark.parametrize("data", [b"", b"a", os.urandom(3_000_000)], ids=["empty", "one byte", "3 MB"])
def test_what_is_put_comes_back_under_its_digest(store: BlobStore, rig: FolderRig | S3Rig, data: bytes) -> None:
    sha256 = store.put(data)
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert store.get(sha256) == data
    assert f"{sha256[:2]}/{sha256}" in rig.names()


def test_put_again_and_at_once_it_is_there_once(store: BlobStore, rig: FolderRig | S3Rig) -> None:
    data = os.urandom(100_000)
    before = len(rig.names())
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(store.put, [data] * 16))) == 1
    assert len(rig.names()) == before + 1


def test_a_blob_that_is_there_is_not_written_again(store: BlobStore, rig: FolderRig | S3Rig) -> None:
    sha256 = store.put(b"written once")
    rig.overwrite(sha256, b"changed by somebody")
    assert store.put(b"written once") == sha256
    with pytest.raises(BlobDamaged, match=sha256):
        store.get(sha256)


@pytest.mark.parametrize("name", ["0" * 64, "0" * 63, "../../etc/passwd", "A" * 64, "", f"{'0' * 64}\n"])
def test_what_is_not_there_or_no_digest_is_a_key_error(store: BlobStore, name: str) -> None:
    with pytest.raises(KeyError):
        store.get(name)


def test_a_service_that_is_away_is_told_without_a_secret(tmp_path: Path, s3: S3Server) -> None:
    away = s3.blobs(url=f"http://127.0.0.1:{free_port()}", connect_timeout_s=1)
    store = open_blobs(Settings(data_dir=tmp_path, blobs=away))
    for call in (lambda: store.put(b"x"), lambda: store.get("0" * 64)):
        with pytest.raises(BlobsUnavailable) as told:
            call()
        assert SECRET not in str(told.value)
    store.close()


def test_a_bucket_that_is_not_there_is_unavailable(tmp_path: Path, s3: S3Server) -> None:
    store = open_blobs(Settings(data_dir=tmp_path, blobs=s3.blobs(bucket="no-such-bucket")))
    with pytest.raises(BlobsUnavailable, match="NoSuchBucket"):
        store.put(b"x")
    store.close()


def test_neither_the_environment_nor_a_proxy_leads_elsewhere(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    store = open_blobs(Settings(data_dir=tmp_path, blobs=s3.blobs()))
    assert store.get(store.put(b"here")) == b"here"
    store.close()
