"""Blobs in a bucket of an S3 service: sent with their checksum, written only where nothing is, checked when read.

A key is a fixed prefix and the digest; neither host, bucket nor key ever comes from a request. Needs
``s3:GetObject`` and ``s3:PutObject`` on the prefix, nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from server.blob_port import BlobsUnavailable, checked_blob, checked_digest
from server.settings import S3Blobs

CONNECTIONS_MAX = 16
TRIES_MAX = 3
CONFLICT_TRIES_MAX = 5
MISSING = {"NoSuchKey", "404"}
THERE_ALREADY = {"PreconditionFailed", "412"}
WRITTEN_BY_ANOTHER = {"ConditionalRequestConflict", "409"}  # at this moment; the answer says to send it again


class S3BlobStore:
    """Blobs under ``<prefix>ab/abcd…``."""

    def __init__(self, settings: S3Blobs) -> None:
        self._bucket = settings.bucket
        self._prefix = settings.prefix
        session = boto3.session.Session(
            aws_access_key_id=settings.access_key.get_secret_value(),
            aws_secret_access_key=settings.secret_key.get_secret_value(),
            region_name=settings.region,
        )
        self._client: Any = session.client(
            "s3",
            endpoint_url=settings.url,
            verify=str(settings.ca_file) if settings.ca_file else True,
            config=Config(
                connect_timeout=settings.connect_timeout_s,
                read_timeout=settings.timeout_s,
                retries={"total_max_attempts": TRIES_MAX, "mode": "standard"},
                max_pool_connections=CONNECTIONS_MAX,
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                proxies={},  # none of the environment's either
            ),
        )

    def _key(self, sha256: str) -> str:
        return f"{self._prefix}{sha256[:2]}/{checked_digest(sha256)}"

    def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data)
        sha256, checksum = digest.hexdigest(), base64.b64encode(digest.digest()).decode()
        for _ in range(CONFLICT_TRIES_MAX):
            try:
                self._client.put_object(
                    Bucket=self._bucket, Key=self._key(sha256), Body=data, ChecksumSHA256=checksum, IfNoneMatch="*"
                )
            except ClientError as error:
                code = _code(error)
                if code in THERE_ALREADY:
                    return sha256
                if code in WRITTEN_BY_ANOTHER:
                    continue
                raise self._unavailable(error) from None
            except BotoCoreError as error:
                raise self._unavailable(error) from None
            return sha256
        raise BlobsUnavailable(f"the bucket {self._bucket}: others write the same blob all the time")

    def get(self, sha256: str) -> bytes:
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(sha256))
            data: bytes = answer["Body"].read()
        except ClientError as error:
            if _code(error) in MISSING:
                raise KeyError(sha256) from None
            raise self._unavailable(error) from None
        except BotoCoreError as error:
            raise self._unavailable(error) from None
        return checked_blob(sha256, data)

    def close(self) -> None:
        self._client.close()

    def _unavailable(self, error: ClientError | BotoCoreError) -> BlobsUnavailable:
        """The fault by its code or kind: a message of the service may repeat what was sent to it."""
        what = _code(error) if isinstance(error, ClientError) else type(error).__name__
        return BlobsUnavailable(f"the bucket {self._bucket}: {what}")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
