"""Opens the blob store that the settings name; the port that every store keeps to is in server.blob_port."""

from __future__ import annotations

from server.blob_folder import FolderBlobStore
from server.blob_port import BlobStore
from server.settings import S3Blobs, Settings

__all__ = ["FolderBlobStore", "open_blobs"]


def open_blobs(settings: Settings) -> BlobStore:
    """The store; the caller closes it. Nothing is asked of it yet."""
    if isinstance(settings.blobs, S3Blobs):
        from server.blob_s3 import S3BlobStore

        return S3BlobStore(settings.blobs)
    return FolderBlobStore(settings.blob_dir)
