"""Instruments and their names: canonical `venue:BASE-QUOTE`, ccxt `BASE/QUOTE`, the venue's native symbol."""

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from md_platform.errors import UnknownInstrument

_ID = re.compile(r"(?P<venue>[a-z][a-z0-9-]*):(?P<base>[A-Z0-9.]+)(?:-(?P<quote>[A-Z0-9.]+))?(?P<perp>-PERP)?")


@dataclass(frozen=True, slots=True)
class Instrument:
    """Something that trades on one venue.

    `quote` is empty for stocks (`yahoo:AAPL`); `native` is the venue's own symbol (`BTCUSDT`).
    """

    venue: str
    base: str
    quote: str = ""
    native: str = ""
    is_perpetual: bool = False

    @property
    def id(self) -> str:
        """Canonical id, the Dagster `symbol` partition key: `binance:BTC-USDT`."""
        return f"{self.venue}:{self.symbol}"

    @property
    def symbol(self) -> str:
        """The id without its venue: `BTC-USDT`, `BTC-USDT-PERP`, `AAPL`."""
        return "-".join(part for part in (self.base, self.quote, "PERP" if self.is_perpetual else "") if part)

    @property
    def ccxt(self) -> str:
        """ccxt's unified symbol: `BTC/USDT`, `BTC/USDT:USDT` for a linear perpetual."""
        if not self.quote:
            return self.base
        return f"{self.base}/{self.quote}" + (f":{self.quote}" if self.is_perpetual else "")

    @classmethod
    def parse(cls, text: str, *, native: str = "") -> "Instrument":
        """Instrument from its canonical id alone; UnknownInstrument where `text` is not one."""
        match = _ID.fullmatch(text)
        if match is None:
            raise UnknownInstrument(f"instrument id must look like venue:BASE-QUOTE (binance:BTC-USDT), was {text!r}")
        return cls(match["venue"], match["base"], match["quote"] or "", native, match["perp"] is not None)


class SymbolMap:
    """The instruments known, found by any of their names. An unmapped name is an error, never a guess."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._by_id: dict[str, Instrument] = {}
        self._by_name: dict[tuple[str, str], Instrument] = {}
        for instrument in instruments:
            self._by_id[instrument.id] = instrument
            for name in (instrument.symbol, instrument.ccxt, instrument.native):
                if name:
                    self._by_name[instrument.venue, name.upper()] = instrument

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def resolve(self, text: str) -> Instrument:
        """Instrument named `venue:NAME` in canonical, ccxt or native form, or a bare NAME that only one venue has.

        UnknownInstrument, with the nearest known ids, where nothing or more than one thing has that name.
        """
        venue, colon, name = text.partition(":")
        if colon and (found := self._by_name.get((venue.lower(), name.upper()))):
            return found
        named = [i for (_, known), i in self._by_name.items() if known == text.upper()]
        unique = list(dict.fromkeys(named))
        if len(unique) == 1:
            return unique[0]
        if unique:
            raise UnknownInstrument(f"{text!r} exists on several venues, say which: {' '.join(i.id for i in unique)}")
        near = difflib.get_close_matches(text.lower(), [i.lower() for i in self._by_id], n=3, cutoff=0.5)
        hint = f"; nearest: {' '.join(i for i in self._by_id if i.lower() in near)}" if near else ""
        raise UnknownInstrument(f"no known instrument is named {text!r}{hint}")

    def native(self, venue: str, symbol: str) -> Instrument:
        """Instrument with the native `symbol` on `venue`; UnknownInstrument otherwise."""
        found = self._by_name.get((venue, symbol.upper()))
        if found is None:
            raise UnknownInstrument(f"{venue} instrument with native symbol {symbol!r} is not mapped")
        return found
