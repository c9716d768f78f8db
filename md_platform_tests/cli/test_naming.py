"""Names of instruments as users write them, resolved to one instrument or refused."""

import pytest

from md_platform.domain.instruments import Instrument
from md_platform.errors import SourceUnavailable, UnknownInstrument
from md_platform.loading.naming import resolve
from md_platform_tests.cli.loading_platform import BTC, ETH


def unreachable(venue: str) -> list[Instrument]:
    raise SourceUnavailable(f"{venue} cannot be reached")


def test_names_are_resolved_without_the_network_where_they_are_registered():
    assert resolve(["BTC/USDT", "binance:btcusdt", "binance:ETH-USDT"], [BTC, ETH], unreachable) == [BTC, ETH]


def test_names_that_are_not_registered_are_asked_of_their_venue():
    asked = []

    def listing(venue: str) -> list[Instrument]:
        asked.append(venue)
        return [ETH] if venue == "binance" else [Instrument.parse("kraken:ETH-USDT")]

    assert resolve(["binance:ETHUSDT"], [BTC], listing) == [ETH]
    assert asked == ["binance"]
    with pytest.raises(UnknownInstrument, match="on several venues, say which"):
        resolve(["ETH/USDT"], [BTC], listing, ["kraken:BTC-USD"])
    with pytest.raises(UnknownInstrument, match=r"nearest: .*binance:ETH-USDT"):
        resolve(["binance:ETHUSD"], [BTC], listing)


def test_a_canonical_id_is_taken_as_it_is_only_where_that_is_allowed():
    new = "kraken:SOL-USD"
    with pytest.raises(SourceUnavailable):
        resolve([new], [BTC], unreachable)
    assert resolve([new], [BTC], unreachable, offline=True) == [Instrument.parse(new)]
    assert resolve(["file:SOL-USD"], [], lambda venue: [], offline=True) == [Instrument.parse("file:SOL-USD")]
    with pytest.raises(UnknownInstrument, match="must look like venue:BASE-QUOTE"):
        resolve(["SOL/USD"], [BTC], unreachable, offline=True)
    with pytest.raises(UnknownInstrument, match="no known instrument"):
        resolve(["binance:SOL-USD"], [BTC], lambda venue: [ETH], offline=True)
