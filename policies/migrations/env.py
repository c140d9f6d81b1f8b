"""Runs the revisions over the connection that `policies.revisions` hands in.

It opens nothing, reads no configuration file and leaves the process's logging alone.
"""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
)
context.run_migrations()
