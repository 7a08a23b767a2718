"""indexes of the few jobs and uploads that wait among the many that are kept"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_index(
        "ix_jobs_unfinished",
        "jobs",
        ["create_time", "job_id"],
        postgresql_where=sa.text("state NOT IN ('SUCCEEDED', 'FAILED', 'CANCELLED')"),
    )
    op.create_index("ix_assets_pending", "assets", ["create_time"], postgresql_where=sa.text("state = 'PENDING'"))


def downgrade() -> None:
    op.drop_index("ix_assets_pending", table_name="assets")
    op.drop_index("ix_jobs_unfinished", table_name="jobs")
