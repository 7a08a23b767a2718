"""api keys"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False, comment="whose objects its bearer sees"),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column(
            "secret_sha256", sa.LargeBinary(), nullable=False, comment="of the key as a whole, which is kept nowhere"
        ),
        sa.Column("scopes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "requests_per_minute",
            sa.Integer(),
            nullable=True,
            comment="the deployment's own if null, as the next two",
        ),
        sa.Column("storage_bytes", sa.BigInteger(), nullable=True),
        sa.Column("active_jobs", sa.Integer(), nullable=True),
        sa.Column("create_time", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expire_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoke_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_time", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_keys")),
    )
    op.create_index(op.f("ix_api_keys_create_time_key_id"), "api_keys", ["create_time", "key_id"], unique=False)
    op.create_index(
        op.f("ix_api_keys_owner_create_time_key_id"), "api_keys", ["owner", "create_time", "key_id"], unique=False
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_api_keys_owner_create_time_key_id"), table_name="api_keys")
    op.drop_index(op.f("ix_api_keys_create_time_key_id"), table_name="api_keys")
    op.drop_table("api_keys")
