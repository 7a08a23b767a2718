"""The catalogue's tables. Their history is in ``migrations``."""

from __future__ import annotations

from typing import Any, TypeAlias

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

AnyRow: TypeAlias = Row[*tuple[Any, ...]]
"""A row; its columns are those of the table that it was read from."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _time(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


assets = Table(
    "assets",
    metadata,
    Column("asset_id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("kind", Text, nullable=False, server_default="VIDEO"),
    Column("state", Text, nullable=False),
    Column("upload_id", Text, nullable=False, comment="of the multipart upload, empty without one"),
    Column("sha256", Text, nullable=False, server_default="", comment="that the user gave, or empty"),
    Column(
        "checked_bytes", BigInteger, nullable=False, server_default="0", comment="read by the check of the checksum"
    ),
    Column("video", JSONB(none_as_null=True)),
    Column("failure", JSONB(none_as_null=True)),
    _time("create_time"),
    _time("update_time"),
    Index(None, "owner", "create_time", "asset_id"),
    # Looked for every few seconds, and few among all that are kept.
    Index("ix_assets_pending", "create_time", postgresql_where=text("state = 'PENDING'")),
)

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("pipeline", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("progress", Double, nullable=False),
    Column("parameters", JSONB, nullable=False),
    Column("failure", JSONB(none_as_null=True)),
    Column("outputs", JSONB, nullable=False),
    Column("summary", JSONB, nullable=False),
    Column("trace", JSONB, nullable=False, comment="W3C trace context of the call that made the job"),
    _time("create_time"),
    _time("update_time"),
    Index(None, "owner", "create_time", "job_id"),
    Index(
        "ix_jobs_unfinished",
        "create_time",
        "job_id",
        postgresql_where=text("state NOT IN ('SUCCEEDED', 'FAILED', 'CANCELLED')"),
    ),
)

job_inputs = Table(
    "job_inputs",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("camera", Text, primary_key=True),
    Column("asset_id", Text, nullable=False, index=True),
    Column("position", Integer, nullable=False),
    Column("start_sec", Double),
)

segments = Table(
    "segments",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("camera", Text, primary_key=True),
    Column("index", Integer, primary_key=True),
    Column("start_frame", BigInteger, nullable=False),
    Column("stop_frame", BigInteger, nullable=False),
    Column("warm_up_frames", Integer, nullable=False),
    Column("start_sec", Double, nullable=False, server_default="0"),
    Column("stop_sec", Double, nullable=False, server_default="0"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("task_id", Text, primary_key=True),
    Column("stage", Text, nullable=False),
    Column("camera", Text, nullable=False),
    Column("segment", Integer),
    Column("state", Text, nullable=False),
    Column("fraction", Double, nullable=False, server_default="0"),
)

job_logs = Table(
    "job_logs",
    metadata,
    Column("log_id", BigInteger, Identity(), primary_key=True),
    Column("job_id", Text, ForeignKey("jobs.job_id", ondelete="CASCADE"), nullable=False),
    _time("time"),
    Column("level", Text, nullable=False),
    Column("text", Text, nullable=False),
    Index(None, "job_id", "log_id"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("asset_id", Text, ForeignKey("assets.asset_id"), nullable=False, index=True),
    _time("create_time"),
    _time("update_time"),
    Index(None, "owner", "create_time", "session_id"),
)

session_jobs = Table(
    "session_jobs",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("session_id", Text, ForeignKey("sessions.session_id", ondelete="CASCADE"), nullable=False, index=True),
)

models = Table(
    "models",
    metadata,
    Column("model", Text, primary_key=True, comment="its name on the mesh"),
    Column("owner", Text, nullable=False, comment="who imported or added it"),
    Column("source", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("asset_id", Text, nullable=False, index=True, comment="of the weights, empty if they come by the manifest"),
    Column("picture_asset_id", Text, nullable=False, comment="of the picture to check it on, or empty"),
    Column("labels", JSONB, nullable=False),
    Column(
        "colors",
        JSONB,
        nullable=False,
        server_default="{}",
        comment="order, mean and scale that an embedder was trained with, as far as said",
    ),
    Column("licence", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, comment="begun to import it"),
    Column("failure", JSONB(none_as_null=True)),
    _time("create_time"),
    _time("update_time"),
)

environments = Table(
    "environments",
    metadata,
    Column("environment_key", BigInteger, Identity(), primary_key=True),
    Column("owner", Text, nullable=False),
    Column("environment_id", Text, nullable=False, comment="unique among its owner's"),
    Column("display_name", Text, nullable=False),
    Column("document", JSONB, nullable=False),
    _time("create_time"),
    _time("update_time"),
    Index(None, "owner", "environment_id", unique=True),
)

environment_jobs = Table(
    "environment_jobs",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column(
        "environment_key",
        BigInteger,
        ForeignKey("environments.environment_key", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("remembered", Boolean, nullable=False, server_default="false"),
)

identities = Table(
    "identities",
    metadata,
    Column(
        "environment_key", BigInteger, ForeignKey("environments.environment_key", ondelete="CASCADE"), primary_key=True
    ),
    Column("global_id", Text, primary_key=True),
    Column("embedder", Text, nullable=False),
    Column("worth", Double, nullable=False, comment="how much looking went into the embedding"),
    Column("embedding", LargeBinary, nullable=False, comment="float32, little-endian"),
    Column("cameras", JSONB, nullable=False),
    Column("first_seen_time", DateTime(timezone=True), nullable=False),
    Column("last_seen_time", DateTime(timezone=True), nullable=False),
    Column("remember_time", DateTime(timezone=True), nullable=False, comment="of the last job with them"),
)

identity_jobs = Table(
    "identity_jobs",
    metadata,
    Column("job_id", Text, ForeignKey("environment_jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("global_id", Text, primary_key=True, index=True),
)

forgettings = Table(
    "forgettings",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("global_id", Text, primary_key=True, comment="of whom nothing shall stay in the job's results"),
    Column("done", Boolean, nullable=False, server_default="false"),
)

areas = Table(
    "areas",
    metadata,
    Column("area_id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("display_name", Text, nullable=False, comment="unique among its owner's"),
    Column("description", Text, nullable=False),
    _time("create_time"),
    _time("update_time"),
    Index(None, "owner", "display_name", unique=True),
)

routes = Table(
    "routes",
    metadata,
    Column("route_id", Text, primary_key=True),
    Column("area_id", Text, ForeignKey("areas.area_id", ondelete="CASCADE"), nullable=False),
    Column("owner", Text, nullable=False),
    Column("display_name", Text, nullable=False, comment="unique in its area"),
    Column("description", Text, nullable=False),
    Column("grade", Text, nullable=False),
    Column("reference_id", Text, ForeignKey("reference_images.reference_id"), index=True),
    _time("create_time"),
    _time("update_time"),
    Index(None, "area_id", "display_name", unique=True),
    Index(None, "owner", "display_name", "route_id"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("attempt_id", Text, primary_key=True),
    Column("route_id", Text, ForeignKey("routes.route_id", ondelete="CASCADE"), nullable=False),
    Column("area_id", Text, ForeignKey("areas.area_id", ondelete="CASCADE"), nullable=False, index=True),
    Column("owner", Text, nullable=False),
    Column("display_name", Text, nullable=False, comment="empty to be called by its time"),
    Column("notes", Text, nullable=False),
    Column("asset_id", Text, ForeignKey("assets.asset_id"), nullable=False, index=True),
    _time("attempt_time"),
    Column("topped", Boolean, nullable=False),
    Column(
        "data_prefix", Text, nullable=False, comment="of what is kept with it; a later change of its time moves none"
    ),
    Column("has_poses", Boolean, nullable=False, server_default="false"),
    Column("has_features", Boolean, nullable=False, server_default="false"),
    Column("job_id", Text, ForeignKey("jobs.job_id", ondelete="SET NULL"), index=True, comment="that measured it last"),
    Column("metrics", JSONB(none_as_null=True)),
    _time("create_time"),
    _time("update_time"),
    Index(None, "owner", "create_time", "attempt_id"),
    Index(None, "route_id", "attempt_time", "attempt_id"),
)

reference_images = Table(
    "reference_images",
    metadata,
    Column("reference_id", Text, primary_key=True),
    Column("owner", Text, nullable=False, comment="empty for those that belong to everybody"),
    Column("display_name", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("asset_id", Text, ForeignKey("assets.asset_id"), nullable=False, index=True),
    Column("route_id", Text, ForeignKey("routes.route_id", ondelete="SET NULL", use_alter=True), index=True),
    Column("content_type", Text, nullable=False, comment="as the bytes say"),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("features", Integer, nullable=False, server_default="0"),
    _time("create_time"),
    Index(None, "owner", "source", "display_name", "reference_id"),
)

match_jobs = Table(
    "match_jobs",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("image_asset_id", Text, nullable=False, index=True, comment="of the picture that it draws on"),
    Column("reference_id", Text, ForeignKey("reference_images.reference_id", ondelete="SET NULL"), index=True),
    Column("cleaned", Boolean, nullable=False, server_default="false", comment="has no files left between its stages"),
)

attempt_jobs = Table(
    "attempt_jobs",
    metadata,
    Column("job_id", Text, ForeignKey("match_jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("attempt_id", Text, ForeignKey("attempts.attempt_id", ondelete="CASCADE"), primary_key=True, index=True),
)

tree_revisions = Table(
    "tree_revisions",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False, comment="grows with every change of the owner's areas and routes"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("outbox_id", BigInteger, Identity(), primary_key=True),
    Column("subject", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("headers", JSONB, nullable=False),
)

sweeps = Table(
    "sweeps",
    metadata,
    Column("sweep_id", BigInteger, Identity(), primary_key=True),
    Column("prefix", Text, nullable=False, comment="of the objects to delete"),
    Column("job_id", Text, nullable=False, comment="whose events to purge, or empty"),
    Column("due_time", DateTime(timezone=True), nullable=False, index=True),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("owner", Text, nullable=False, comment="whose objects its bearer sees"),
    Column("display_name", Text, nullable=False),
    Column("secret_sha256", LargeBinary, nullable=False, comment="of the key as a whole, which is kept nowhere"),
    Column("scopes", JSONB, nullable=False),
    Column("requests_per_minute", Integer, comment="the deployment's own if null, as the next two"),
    Column("storage_bytes", BigInteger),
    Column("active_jobs", Integer),
    _time("create_time"),
    Column("expire_time", DateTime(timezone=True)),
    Column("revoke_time", DateTime(timezone=True)),
    Column("last_used_time", DateTime(timezone=True)),
    Index(None, "create_time", "key_id"),
    Index(None, "owner", "create_time", "key_id"),
)

requests = Table(
    "requests",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("method", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("resource_id", Text, nullable=False),
    _time("create_time"),
)
