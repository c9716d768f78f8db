"""Names of instruments: every form leads to the same instrument, an unmapped one is an error with a way out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from md_platform.domain.instruments import Instrument, SymbolMap
from md_platform.errors import UnknownInstrument

venues = st.from_regex(r"[a-z][a-z0-9-]{0,15}", fullmatch=True)
codes = st.from_regex(r"[A-Z0-9.]{1,10}", fullmatch=True).filter(lambda code: code != "PERP")
pairs = st.builds(Instrument, venues, codes, codes, st.just(""), st.booleans())
stocks = st.builds(Instrument, venues, codes)

BINANCE = Instrument("binance", "BTC", "USDT", "BTCUSDT")
COINBASE = Instrument("coinbase", "BTC", "USDT", "BTC-USDT")
KRAKEN = Instrument("kraken", "ETH", "USD", "XETHZUSD")
PERPETUAL = Instrument("okx", "BTC", "USDT", "BTC-USDT-SWAP", is_perpetual=True)
STOCK = Instrument("yahoo", "BRK.B", native="BRK-B")
KNOWN = SymbolMap([BINANCE, COINBASE, KRAKEN, PERPETUAL, STOCK])


@given(pairs | stocks)
def test_every_id_reads_back_as_the_same_instrument(instrument):
    assert Instrument.parse(instrument.id) == instrument


@given(st.lists(pairs, unique_by=lambda i: i.id, max_size=6), st.data())
def test_every_form_of_a_listed_name_finds_its_instrument(instruments, data):
    listed = [
        Instrument(i.venue, i.base, i.quote, f"{i.base}_{i.quote}{'_SWAP' * i.is_perpetual}", i.is_perpetual)
        for i in instruments
    ]
    known = SymbolMap(listed)
    assert list(known) == listed
    assert len(known) == len(listed)
    for instrument in listed:
        form = data.draw(st.sampled_from([instrument.symbol, instrument.ccxt, instrument.native]))
        written = data.draw(st.sampled_from([form, form.lower()]))
        assert known.resolve(f"{instrument.venue}:{written}") == instrument
        assert known.native(instrument.venue, instrument.native.lower()) == instrument


@pytest.mark.parametrize(
    ("instrument", "id_", "ccxt"),
    [
        (BINANCE, "binance:BTC-USDT", "BTC/USDT"),
        (PERPETUAL, "okx:BTC-USDT-PERP", "BTC/USDT:USDT"),
        (STOCK, "yahoo:BRK.B", "BRK.B"),
    ],
)
def test_forms_of_a_pair_a_perpetual_and_a_stock(instrument, id_, ccxt):
    assert (instrument.id, instrument.ccxt) == (id_, ccxt)


@pytest.mark.parametrize(
    "text",
    ["", "BTC-USDT", "binance:", "binance:btc-usdt", "Binance:BTC-USDT", "binance:BTC/USDT", "binance:BTC-USDT-SPOT-X",
     "binance:BTC-USDT'; DROP TABLE x", "binance:BTC-USDT\n", "../x:BTC"],
)  # fmt: skip
def test_what_is_no_id_is_refused_with_an_example(text):
    with pytest.raises(UnknownInstrument, match="binance:BTC-USDT") as error:
        Instrument.parse(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize("text", ["ETH-USD", "eth/usd", "XETHZUSD", "kraken:XETHZUSD", "KRAKEN:eth-usd"])
def test_a_name_that_one_venue_has_needs_no_venue(text):
    assert KNOWN.resolve(text) == KRAKEN


def test_a_perpetual_has_a_ccxt_name_with_a_colon_of_its_own():
    assert KNOWN.resolve("BTC/USDT:USDT") == PERPETUAL
    assert KNOWN.resolve("okx:BTC/USDT:USDT") == PERPETUAL


def test_a_name_that_several_venues_have_is_not_guessed():
    with pytest.raises(UnknownInstrument, match=r"several venues.*binance:BTC-USDT coinbase:BTC-USDT"):
        KNOWN.resolve("BTC/USDT")


@pytest.mark.parametrize(
    ("text", "nearest"),
    [("binance:BTC-USD", "binance:BTC-USDT"), ("kraken:ETHUSD", "kraken:ETH-USD"), ("krakn:ETH-USD", "kraken:ETH-USD")],
)
def test_an_unknown_name_is_answered_with_the_nearest_known(text, nearest):
    with pytest.raises(UnknownInstrument) as error:
        KNOWN.resolve(text)
    assert text in str(error.value)
    assert nearest in str(error.value).partition("nearest:")[2]


def test_a_name_like_no_other_gets_no_suggestion():
    with pytest.raises(UnknownInstrument) as error:
        KNOWN.resolve("#!?")
    assert "nearest" not in str(error.value)


def test_a_native_symbol_of_another_venue_is_not_taken():
    with pytest.raises(UnknownInstrument, match="XETHZUSD"):
        KNOWN.native("binance", "XETHZUSD")
