"""Names of instruments as people write them in, instruments out: those that the platform has registered."""

import threading
import time

import structlog

from md_platform.catalog.ledger import Partitions
from md_platform.domain.instruments import Instrument, SymbolMap
from md_platform.errors import StorageUnavailable, UnknownInstrument

log = structlog.get_logger(__name__)

_KNOWN_FOR_S = 5.0


class Names:
    """The registered instruments, read anew every few seconds; while the database is away, those that were known."""

    def __init__(self, ledger: Partitions) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._known: SymbolMap | None = None
        self._read_at = float("-inf")

    def resolve(self, text: str) -> Instrument:
        """The instrument of any of its names (`binance:BTC-USDT`, `binance:BTC/USDT`, `BTCUSDT`); UnknownInstrument.

        One that was registered a moment ago is found.
        """
        known, read_at = self.known(), self._read_at
        try:
            return known.resolve(text)
        except UnknownInstrument:
            if time.monotonic() - read_at < 1.0:
                raise
            return self.known(older_than_s=1.0).resolve(text)

    def at_once(self, text: str) -> Instrument | None:
        """The instrument, if that can be said without asking the database; UnknownInstrument as `resolve`."""
        known = self._known
        is_fresh = time.monotonic() - self._read_at <= _KNOWN_FOR_S
        return known.resolve(text) if known is not None and is_fresh else None

    def known(self, older_than_s: float = _KNOWN_FOR_S) -> SymbolMap:
        """All of them."""
        with self._lock:
            if self._known is None or time.monotonic() - self._read_at > older_than_s:
                try:
                    self._known = SymbolMap(instrument for instrument, _ in self._ledger.instruments())
                except StorageUnavailable as error:
                    if self._known is None:
                        raise
                    log.warning("the database is away: instruments are those known before", reason=str(error))
                self._read_at = time.monotonic()
            return self._known
