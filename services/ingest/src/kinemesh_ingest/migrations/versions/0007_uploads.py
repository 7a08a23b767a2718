"""uploads that can be resumed, with checksums"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0005"


def upgrade() -> None:
    op.add_column(
        "assets",
        sa.Column("sha256", sa.Text(), server_default="", nullable=False, comment="that the user gave, or empty"),
    )
    op.add_column(
        "assets",
        sa.Column(
            "checked_bytes",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="read by the check of the checksum",
        ),
    )


def downgrade() -> None:
    op.drop_column("assets", "checked_bytes")
    op.drop_column("assets", "sha256")
