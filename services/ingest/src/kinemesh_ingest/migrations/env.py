"""Called by Alembic with the connection that ``catalogue.schema`` holds."""

from __future__ import annotations

from alembic import context

from kinemesh_ingest.catalogue.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
