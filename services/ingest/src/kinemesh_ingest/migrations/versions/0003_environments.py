"""environments"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column(
        "models",
        sa.Column(
            "colors",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="order, mean and scale that an embedder was trained with, as far as said",
        ),
    )
    op.add_column("job_inputs", sa.Column("start_sec", sa.Double(), nullable=True))
    op.add_column("segments", sa.Column("start_sec", sa.Double(), server_default="0", nullable=False))
    op.add_column("segments", sa.Column("stop_sec", sa.Double(), server_default="0", nullable=False))
    op.create_table(
        "environments",
        sa.Column("environment_key", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("environment_id", sa.Text(), nullable=False, comment="unique among its owner's"),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("document", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("environment_key", name=op.f("pk_environments")),
    )
    op.create_index(
        op.f("ix_environments_owner_environment_id"), "environments", ["owner", "environment_id"], unique=True
    )
    op.create_table(
        "environment_jobs",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("environment_key", sa.BigInteger(), nullable=False),
        sa.Column("remembered", sa.Boolean(), server_default="false", nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_key"],
            ["environments.environment_key"],
            name=op.f("fk_environment_jobs_environment_key"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.job_id"], name=op.f("fk_environment_jobs_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_environment_jobs")),
    )
    op.create_index(op.f("ix_environment_jobs_environment_key"), "environment_jobs", ["environment_key"], unique=False)
    op.create_table(
        "identities",
        sa.Column("environment_key", sa.BigInteger(), nullable=False),
        sa.Column("global_id", sa.Text(), nullable=False),
        sa.Column("embedder", sa.Text(), nullable=False),
        sa.Column("worth", sa.Double(), nullable=False, comment="how much looking went into the embedding"),
        sa.Column("embedding", sa.LargeBinary(), nullable=False, comment="float32, little-endian"),
        sa.Column("cameras", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("first_seen_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("remember_time", sa.DateTime(timezone=True), nullable=False, comment="of the last job with them"),
        sa.ForeignKeyConstraint(
            ["environment_key"],
            ["environments.environment_key"],
            name=op.f("fk_identities_environment_key"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("environment_key", "global_id", name=op.f("pk_identities")),
    )
    op.create_table(
        "identity_jobs",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("global_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["environment_jobs.job_id"],
            name=op.f("fk_identity_jobs_job_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("job_id", "global_id", name=op.f("pk_identity_jobs")),
    )
    op.create_index(op.f("ix_identity_jobs_global_id"), "identity_jobs", ["global_id"], unique=False)
    op.create_table(
        "forgettings",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("global_id", sa.Text(), nullable=False, comment="of whom nothing shall stay in the job's results"),
        sa.Column("done", sa.Boolean(), server_default="false", nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name=op.f("fk_forgettings_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "global_id", name=op.f("pk_forgettings")),
    )


def downgrade() -> None:
    op.drop_table("forgettings")
    op.drop_index(op.f("ix_identity_jobs_global_id"), table_name="identity_jobs")
    op.drop_table("identity_jobs")
    op.drop_table("identities")
    op.drop_index(op.f("ix_environment_jobs_environment_key"), table_name="environment_jobs")
    op.drop_table("environment_jobs")
    op.drop_index(op.f("ix_environments_owner_environment_id"), table_name="environments")
    op.drop_table("environments")
    # The version before knows neither this pipeline nor a job that has no camera called main.
    op.execute("DELETE FROM jobs WHERE pipeline = 'multi_camera'")
    op.drop_column("segments", "stop_sec")
    op.drop_column("segments", "start_sec")
    op.drop_column("job_inputs", "start_sec")
    op.drop_column("models", "colors")
