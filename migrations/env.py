"""Runs migrations on the connection that `node.catalog.session` hands over, or on NODUS_DATABASE_URL for developers."""

import os

from alembic import context
from sqlalchemy import Connection, create_engine

from node.catalog.instant import Utc
from node.catalog.tables import metadata


def plain_types(kind: str, item: object, _: object) -> str | bool:
    """Migrations outlive our own types: write what the database sees."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, Utc) else False


def run(connection: Connection) -> None:
    """Migrate on one connection, all steps in one transaction where the database can."""
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, render_item=plain_types)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with create_engine(os.environ["NODUS_DATABASE_URL"]).connect() as own:
        run(own)
        own.commit()
