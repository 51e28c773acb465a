"""An instant: aware in Python, UTC in SQL, on databases with and without time zones."""

from datetime import UTC, datetime

from sqlalchemy import DateTime, TypeDecorator, func, select
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Session


class Utc(TypeDecorator[datetime]):
    """The type of every column that holds a time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; a naive time is a mistake."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now_of(session: Session) -> datetime:
    """The database's clock: the one clock that a node and its workers on other hosts share.

    SQLite has none; who opens the same file is on the same host.
    """
    if session.get_bind().dialect.name == "sqlite":
        return datetime.now(UTC)
    return session.execute(select(func.clock_timestamp(type_=Utc))).scalar_one()
