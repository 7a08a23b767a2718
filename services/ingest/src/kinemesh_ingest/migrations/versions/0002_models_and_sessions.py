"""models and sessions"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("assets", sa.Column("kind", sa.Text(), server_default="VIDEO", nullable=False))
    op.create_table(
        "models",
        sa.Column("model", sa.Text(), nullable=False, comment="its name on the mesh"),
        sa.Column("owner", sa.Text(), nullable=False, comment="who imported or added it"),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("asset_id", sa.Text(), nullable=False, comment="of the weights, empty if they come by the manifest"),
        sa.Column("picture_asset_id", sa.Text(), nullable=False, comment="of the picture to check it on, or empty"),
        sa.Column("labels", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("licence", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="begun to import it"),
        sa.Column("failure", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("create_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_models")),
    )
    op.create_index(op.f("ix_models_asset_id"), "models", ["asset_id"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("asset_id", sa.Text(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.asset_id"], name=op.f("fk_sessions_asset_id")),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_asset_id"), "sessions", ["asset_id"], unique=False)
    op.create_index(
        op.f("ix_sessions_owner_create_time_session_id"),
        "sessions",
        ["owner", "create_time", "session_id"],
        unique=False,
    )
    op.create_table(
        "session_jobs",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name=op.f("fk_session_jobs_job_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.session_id"], name=op.f("fk_session_jobs_session_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_session_jobs")),
    )
    op.create_index(op.f("ix_session_jobs_session_id"), "session_jobs", ["session_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_session_jobs_session_id"), table_name="session_jobs")
    op.drop_table("session_jobs")
    op.drop_index(op.f("ix_sessions_owner_create_time_session_id"), table_name="sessions")
    op.drop_index(op.f("ix_sessions_asset_id"), table_name="sessions")
    op.drop_table("sessions")
    op.drop_index(op.f("ix_models_asset_id"), table_name="models")
    op.drop_table("models")
    # The version before takes every asset for a video, and would let jobs read what is none.
    op.execute("DELETE FROM assets WHERE kind <> 'VIDEO'")
    op.drop_column("assets", "kind")
