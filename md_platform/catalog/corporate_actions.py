"""Splits and dividends of instruments: recorded, corrected and withdrawn, each state of them kept with its time."""

import datetime as dt
from collections.abc import Sequence

import psycopg
from psycopg.rows import class_row

from md_platform.catalog.ledger import Connect
from md_platform.domain.corporate_actions import CorporateAction, Kind
from md_platform.errors import InvalidCorporateAction, NotFound
from md_platform.storage.database import database_errors


class CorporateActions:
    """The records over connections that `connect` gives. StorageError where the database is unreachable."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    def of(self, instrument: str, as_of: dt.datetime | None = None) -> Sequence[CorporateAction]:
        """What is known of `instrument`, by `as_of` or now, in order of ex-dates."""
        with database_errors(), self._connect() as connection:
            cursor = connection.cursor(row_factory=class_row(CorporateAction))
            return cursor.execute(_KNOWN, {"instrument": instrument, "as_of": as_of}).fetchall()

    def record(self, instrument: str, ex_date: dt.date, kind: Kind, value: float) -> None:
        """Say what happens on `ex_date`; what was said of it before is kept for who asks as of then.

        InvalidCorporateAction where `instrument` is not registered or the value is not above 0.
        """
        self._say(instrument, ex_date, kind, value)

    def withdraw(self, instrument: str, ex_date: dt.date, kind: Kind) -> None:
        """Say that nothing of the kind happens on `ex_date` after all; NotFound where nobody said so."""
        if not any((each.ex_date, each.kind) == (ex_date, kind) for each in self.of(instrument)):
            raise NotFound(f"{instrument} has no {kind} on {ex_date}")
        self._say(instrument, ex_date, kind, None)

    def _say(self, instrument: str, ex_date: dt.date, kind: Kind, value: float | None) -> None:
        values = {"instrument": instrument, "ex_date": ex_date, "kind": kind, "value": value}
        with database_errors():
            try:
                with self._connect() as connection, connection.transaction():
                    connection.execute(_SAY, values)
            except psycopg.errors.ForeignKeyViolation:
                raise InvalidCorporateAction(f"no instrument has the id {instrument!r}: register it first") from None
            except psycopg.errors.CheckViolation:
                raise InvalidCorporateAction(f"the value of a {kind} is above 0, was {value}") from None


_KNOWN = """
SELECT ex_date, kind, value, known_at
FROM (
    SELECT DISTINCT ON (ex_date, kind) ex_date, kind, value, known_at
    FROM md.corporate_actions
    WHERE instrument = %(instrument)s AND (%(as_of)s::timestamptz IS NULL OR known_at <= %(as_of)s)
    ORDER BY ex_date, kind, known_at DESC
) AS newest
WHERE value IS NOT NULL
ORDER BY ex_date, kind
"""
_SAY = """
INSERT INTO md.corporate_actions (instrument, ex_date, kind, value)
VALUES (%(instrument)s, %(ex_date)s, %(kind)s, %(value)s)
"""
