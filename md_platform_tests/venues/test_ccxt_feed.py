"""ccxt's unified structures as events: amounts in the base currency, ids kept or made, what is missing said."""

import json

import pytest

from md_platform.domain.events import BookUpdate, Event, Malformed, Quote, Refused, Trade, Unknown
from md_platform.domain.instruments import Instrument
from md_platform.venues.ccxt_feed import feed_named, feed_of
from md_platform.venues.feeds import Subscription

BTC = Instrument("gate", "BTC", "USDT", "BTC_USDT")
PERPETUAL = Instrument("gate", "BTC", "USDT", "BTC_USDT", is_perpetual=True)
AT_MS = 1_700_000_000_123
RECEIVED_NS = AT_MS * 1_000_000 + 5_000_000


def frame(channel: str, data: object, symbol: str = "BTC/USDT", contract_size: float = 1.0) -> bytes:
    return json.dumps({"channel": channel, "symbol": symbol, "contract_size": contract_size, "data": data}).encode()


def trade(**changes: object) -> dict[str, object]:
    return {"id": "17", "timestamp": AT_MS, "price": 0.1, "amount": 3.0, "side": "buy", "info": {"p": "0.1"}, **changes}


def events(*frames: bytes) -> list[Event]:
    session = feed_of("gate").session([Subscription("trades", BTC), Subscription("trades", PERPETUAL)])
    return session.receive(frames, RECEIVED_NS)


def test_a_trade_keeps_its_id_and_its_digits() -> None:
    (found,) = events(frame("trades", trade()))
    assert found == Trade(BTC.id, AT_MS * 1_000_000, RECEIVED_NS, 17, 0.1, 3.0, "buy")


def test_contracts_are_counted_in_the_base_currency() -> None:
    symbol = "BTC/USDT:USDT"
    found = events(
        frame("trades", trade(), symbol, 0.001),
        frame("quotes", {"bid": 1, "bidVolume": 5, "ask": 2, "askVolume": 7}, symbol, 0.5),
        frame("book", {"bids": [[1, 5]], "asks": [[2, 7]], "timestamp": None, "nonce": 4}, symbol, 0.5),
    )
    assert found == [
        Trade(PERPETUAL.id, AT_MS * 1_000_000, RECEIVED_NS, 17, 0.1, 0.003, "buy"),
        Quote(PERPETUAL.id, RECEIVED_NS, RECEIVED_NS, 1, 2.5, 2, 3.5),
        BookUpdate(PERPETUAL.id, RECEIVED_NS, RECEIVED_NS, [("1.0", "2.5")], [("2.0", "3.5")], True, 4),
    ]


def test_trades_without_ids_get_the_same_ones_each_time_and_alike_ones_are_counted() -> None:
    nameless = [
        frame("trades", trade(id=None)),
        frame("trades", trade(id=None)),
        frame("trades", trade(id=None, price=2)),
    ]
    ids = [event.trade_id for event in events(*nameless) if isinstance(event, Trade)]
    assert ids == [f"{AT_MS}:0.1:3.0:buy", f"{AT_MS}:0.1:3.0:buy:2", f"{AT_MS}:2.0:3.0:buy"]
    assert ids == [event.trade_id for event in events(*nameless) if isinstance(event, Trade)]


def test_trades_from_before_the_connection_are_marked() -> None:
    found = events(frame("trades", trade(timestamp=AT_MS - 2_000)), frame("trades", trade()))
    assert [event.sent_late for event in found if isinstance(event, Trade)] == [True, False]


def test_quotes_without_sizes_are_refused_once() -> None:
    sizeless = frame("quotes", {"bid": 1, "ask": 2, "bidVolume": None, "askVolume": None})
    found = events(sizeless, frame("quotes", {"bid": None, "ask": 2}), sizeless)
    assert found == [Refused("ccxt gives best prices without their sizes", "quotes", ["BTC_USDT"])]


@pytest.mark.parametrize("data", [trade(price=None), trade(timestamp=None), trade(side="both"), [], None])
def test_what_is_no_trade_is_kept_as_malformed(data: object) -> None:
    bad = frame("trades", data)
    found = events(frame("trades", trade()), bad, frame("trades", trade(id="18")))
    assert [event.frame for event in found if isinstance(event, Malformed)] == [bad]
    assert [event.trade_id for event in found if isinstance(event, Trade)] == [17, 18]


def test_an_instrument_that_nobody_asked_for_is_unknown() -> None:
    other = frame("trades", trade(), "ETH/USDT")
    assert events(other) == [Unknown(other)]


def test_a_feed_is_found_by_its_name() -> None:
    feed = feed_named("ccxt-gate")
    assert feed is not None
    assert (feed.name, feed.ccxt) == ("ccxt-gate", "gate")
    assert feed_named("kraken") is None
