"""Objects in S3: the store, its settings, a seekable reader over HTTP ranges, and the layout of the keys."""

from kinemesh.storage.errors import storage_errors
from kinemesh.storage.settings import S3Settings
from kinemesh.storage.store import ObjectInfo, ObjectStore, Part, PendingUpload

__all__ = ["ObjectInfo", "ObjectStore", "Part", "PendingUpload", "S3Settings", "storage_errors"]
