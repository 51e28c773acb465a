"""What the columns of all tables have in common."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Text,
)

from node.catalog.instant import Utc

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMES)
Id = BigInteger().with_variant(Integer, "sqlite")
Uid = Text()
"""No length: what senders write is kept as it is."""


def id_column() -> Column[int]:
    """Primary key."""
    return Column("id", Id, primary_key=True, autoincrement=True)


def of_column(table: str, **more: Any) -> Column[int]:
    """Foreign key to another table's id."""
    return Column(f"{table}_id", Id, ForeignKey(f"{table}.id"), nullable=False, **more)


def text_column(name: str, length: int = 64) -> Column[str]:
    """Short text, empty where there is none."""
    return Column(name, String(length), nullable=False, default="", server_default="")


def count_column(name: str) -> Column[int]:
    """A number that begins at 0."""
    return Column(name, Integer, nullable=False, default=0, server_default="0")


def json_column(name: str) -> Column[Any]:
    """An object, empty where there is none."""
    return Column(name, JSON, nullable=False, default=dict, server_default="{}")


def list_column(name: str) -> Column[Any]:
    """A list, empty where there is none."""
    return Column(name, JSON, nullable=False, default=list, server_default="[]")


def time_column(name: str, **more: Any) -> Column[datetime]:
    """An instant, aware of its zone."""
    return Column(name, Utc, **more)
