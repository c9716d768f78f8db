"""Names of instruments and sources in, the small integers that rows carry out; new names are registered."""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter

from md_platform.domain.instruments import Instrument
from md_platform.storage.database import Connection, register_instruments
from md_platform.storage.live_rows import BARS, LiveTable, Numbering, Stored

_BAR_TABLES = frozenset(BARS.values())
_instrument = attrgetter("instrument")
_bar_key = attrgetter("instrument", "source")


class LiveNumbers:
    """The numbers known so far, in `numbering`.

    `sources` gives a venue's name as a source where it is not its id; `universe_of` an instrument's universe.
    """

    def __init__(self, sources: Mapping[str, str], universe_of: Callable[[str], str]) -> None:
        self._names = sources
        self._universe_of = universe_of
        self.forget()

    def forget(self) -> None:
        """Ask the database again for each."""
        self._instruments: dict[str, int] = {}
        self._origins: dict[str, int] = {}
        self._bar_sources: dict[tuple[str, str], int] = {}
        self._sources: dict[str, int] = {}
        self.numbering = Numbering(self._instruments, self._origins, self._bar_sources)

    def give(self, connection: Connection, by_table: Mapping[LiveTable, Sequence[Stored]]) -> None:
        """Make sure that every instrument and source of these rows has a number."""
        names: set[str] = set()
        bar_sources: set[tuple[str, str]] = set()
        for table, rows in by_table.items():
            if table.of_instruments:
                names.update(map(_instrument, rows))
            if table in _BAR_TABLES:
                bar_sources.update(map(_bar_key, rows))
        if new := sorted(names - self._instruments.keys()):
            self._register(connection, new)
        for instrument, source in bar_sources - self._bar_sources.keys():
            _, at, address = self._origin(instrument).partition("@")
            self._bar_sources[instrument, source] = self._source(connection, f"{source}{at}{address}")

    def _register(self, connection: Connection, names: Sequence[str]) -> None:
        found = _numbers_of(connection, names)
        if missing := [name for name in names if name not in found]:
            instruments = [(Instrument.parse(name), self._universe_of(name)) for name in missing]
            register_instruments(connection, instruments, replace=False)
            found |= _numbers_of(connection, missing)
        for name in names:
            self._origins[name] = self._source(connection, self._origin(name))
        self._instruments.update(found)

    def _origin(self, instrument: str) -> str:
        venue = instrument.partition(":")[0]
        return self._names.get(venue, venue)

    def _source(self, connection: Connection, name: str) -> int:
        if name not in self._sources:
            found = connection.execute(_SOURCE, (name,)).fetchone()
            if found is None:  # asked first: an insert that finds it there would use up a number
                connection.execute(_NEW_SOURCE, (name,))
                found = connection.execute(_SOURCE, (name,)).fetchone()
            if found is None:
                raise AssertionError("it was inserted above")
            self._sources[name] = found[0]
        return self._sources[name]


_SOURCE = "SELECT source_id FROM md.sources WHERE name = %s"
_NEW_SOURCE = "INSERT INTO md.sources (name) VALUES (%s) ON CONFLICT (name) DO NOTHING"


def _numbers_of(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    query = "SELECT id, instrument_id FROM md.instruments WHERE id = ANY (%s)"
    return dict(connection.execute(query, (list(names),)).fetchall())
