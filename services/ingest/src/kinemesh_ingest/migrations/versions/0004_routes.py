"""routes"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "areas",
        sa.Column("area_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False, comment="unique among its owner's"),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("area_id", name=op.f("pk_areas")),
    )
    op.create_index(op.f("ix_areas_owner_display_name"), "areas", ["owner", "display_name"], unique=True)
    op.create_table(
        "tree_revisions",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column(
            "revision",
            sa.BigInteger(),
            nullable=False,
            comment="grows with every change of the owner's areas and routes",
        ),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_tree_revisions")),
    )
    op.create_table(
        "reference_images",
        sa.Column("reference_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False, comment="empty for those that belong to everybody"),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("asset_id", sa.Text(), nullable=False),
        sa.Column("route_id", sa.Text(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=False, comment="as the bytes say"),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("features", sa.Integer(), server_default="0", nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.asset_id"], name=op.f("fk_reference_images_asset_id")),
        sa.PrimaryKeyConstraint("reference_id", name=op.f("pk_reference_images")),
    )
    op.create_index(op.f("ix_reference_images_asset_id"), "reference_images", ["asset_id"], unique=False)
    op.create_index(
        op.f("ix_reference_images_owner_source_display_name_reference_id"),
        "reference_images",
        ["owner", "source", "display_name", "reference_id"],
        unique=False,
    )
    op.create_index(op.f("ix_reference_images_route_id"), "reference_images", ["route_id"], unique=False)
    op.create_table(
        "match_jobs",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("image_asset_id", sa.Text(), nullable=False, comment="of the picture that it draws on"),
        sa.Column("reference_id", sa.Text(), nullable=True),
        sa.Column(
            "cleaned",
            sa.Boolean(),
            server_default="false",
            nullable=False,
            comment="has no files left between its stages",
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name=op.f("fk_match_jobs_job_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["reference_id"],
            ["reference_images.reference_id"],
            name=op.f("fk_match_jobs_reference_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_match_jobs")),
    )
    op.create_index(op.f("ix_match_jobs_image_asset_id"), "match_jobs", ["image_asset_id"], unique=False)
    op.create_index(op.f("ix_match_jobs_reference_id"), "match_jobs", ["reference_id"], unique=False)
    op.create_table(
        "routes",
        sa.Column("route_id", sa.Text(), nullable=False),
        sa.Column("area_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False, comment="unique in its area"),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("grade", sa.Text(), nullable=False),
        sa.Column("reference_id", sa.Text(), nullable=True),
        sa.Column("create_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["area_id"], ["areas.area_id"], name=op.f("fk_routes_area_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["reference_images.reference_id"], name=op.f("fk_routes_reference_id")
        ),
        sa.PrimaryKeyConstraint("route_id", name=op.f("pk_routes")),
    )
    op.create_index(op.f("ix_routes_area_id_display_name"), "routes", ["area_id", "display_name"], unique=True)
    op.create_index(
        op.f("ix_routes_owner_display_name_route_id"), "routes", ["owner", "display_name", "route_id"], unique=False
    )
    op.create_index(op.f("ix_routes_reference_id"), "routes", ["reference_id"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("attempt_id", sa.Text(), nullable=False),
        sa.Column("route_id", sa.Text(), nullable=False),
        sa.Column("area_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False, comment="empty to be called by its time"),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("asset_id", sa.Text(), nullable=False),
        sa.Column("attempt_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("topped", sa.Boolean(), nullable=False),
        sa.Column(
            "data_prefix",
            sa.Text(),
            nullable=False,
            comment="of what is kept with it; a later change of its time moves none",
        ),
        sa.Column("has_poses", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("has_features", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True, comment="that measured it last"),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("create_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["area_id"], ["areas.area_id"], name=op.f("fk_attempts_area_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.asset_id"], name=op.f("fk_attempts_asset_id")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name=op.f("fk_attempts_job_id"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["route_id"], ["routes.route_id"], name=op.f("fk_attempts_route_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_attempts")),
    )
    op.create_index(op.f("ix_attempts_area_id"), "attempts", ["area_id"], unique=False)
    op.create_index(op.f("ix_attempts_asset_id"), "attempts", ["asset_id"], unique=False)
    op.create_index(op.f("ix_attempts_job_id"), "attempts", ["job_id"], unique=False)
    op.create_index(
        op.f("ix_attempts_owner_create_time_attempt_id"),
        "attempts",
        ["owner", "create_time", "attempt_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_attempts_route_id_attempt_time_attempt_id"),
        "attempts",
        ["route_id", "attempt_time", "attempt_id"],
        unique=False,
    )
    op.create_table(
        "attempt_jobs",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("attempt_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempts.attempt_id"], name=op.f("fk_attempt_jobs_attempt_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["match_jobs.job_id"], name=op.f("fk_attempt_jobs_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "attempt_id", name=op.f("pk_attempt_jobs")),
    )
    op.create_index(op.f("ix_attempt_jobs_attempt_id"), "attempt_jobs", ["attempt_id"], unique=False)
    op.create_foreign_key(
        op.f("fk_reference_images_route_id"),
        "reference_images",
        "routes",
        ["route_id"],
        ["route_id"],
        ondelete="SET NULL",
    )


def downgrade() -> None:
    # The version before knows neither this pipeline nor assets of nobody.
    op.execute("DELETE FROM jobs WHERE pipeline = 'route_match'")
    op.drop_constraint(op.f("fk_reference_images_route_id"), "reference_images", type_="foreignkey")
    op.drop_index(op.f("ix_attempt_jobs_attempt_id"), table_name="attempt_jobs")
    op.drop_table("attempt_jobs")
    op.drop_index(op.f("ix_attempts_route_id_attempt_time_attempt_id"), table_name="attempts")
    op.drop_index(op.f("ix_attempts_owner_create_time_attempt_id"), table_name="attempts")
    op.drop_index(op.f("ix_attempts_job_id"), table_name="attempts")
    op.drop_index(op.f("ix_attempts_asset_id"), table_name="attempts")
    op.drop_index(op.f("ix_attempts_area_id"), table_name="attempts")
    op.drop_table("attempts")
    op.drop_index(op.f("ix_routes_reference_id"), table_name="routes")
    op.drop_index(op.f("ix_routes_owner_display_name_route_id"), table_name="routes")
    op.drop_index(op.f("ix_routes_area_id_display_name"), table_name="routes")
    op.drop_table("routes")
    op.drop_index(op.f("ix_match_jobs_reference_id"), table_name="match_jobs")
    op.drop_index(op.f("ix_match_jobs_image_asset_id"), table_name="match_jobs")
    op.drop_table("match_jobs")
    op.drop_index(op.f("ix_reference_images_route_id"), table_name="reference_images")
    op.drop_index(op.f("ix_reference_images_owner_source_display_name_reference_id"), table_name="reference_images")
    op.drop_index(op.f("ix_reference_images_asset_id"), table_name="reference_images")
    op.drop_table("reference_images")
    op.drop_table("tree_revisions")
    op.drop_index(op.f("ix_areas_owner_display_name"), table_name="areas")
    op.drop_table("areas")
    op.execute("DELETE FROM assets WHERE owner = ''")
