"""The sandbox's own streams read by the sessions of the venues whose protocols it speaks, without sockets."""

import pytest

from md_platform.domain.instruments import Instrument
from md_platform.sandbox.coinbase_stream import CoinbaseSession, CoinbaseStreams
from md_platform.sandbox.history import History
from md_platform.sandbox.kraken_stream import KrakenSession, KrakenStreams
from md_platform.sandbox.kraken_v1 import KrakenV1Session, KrakenV1Streams
from md_platform.sandbox.listings import listings
from md_platform.sandbox.prices import HOUR_US
from md_platform.sandbox.simulation import Simulation
from md_platform.storage.captures import Record
from md_platform.venues import coinbase_feed, kraken_feed, kraken_v1_feed
from md_platform_tests.venues.agreement import assert_explained, confirmed
from md_platform_tests.venues.replay import Replayed, replay, subscribed

HISTORY = History(Simulation(1, listings()))
START_US = 494_000 * HOUR_US - 45_300_000
SECONDS = 90


def conversation(feed, session, venue) -> Replayed:
    """Our opening sent to the sandbox, and all that it says in the time after it replayed."""
    instruments = [Instrument(venue, base, "USD", f"{base}-USD") for base in ("BTC", "DOGE")]
    frames = session.open(START_US)
    for message in feed.session(subscribed(feed, instruments)).opening():
        frames += session.receive(message.decode(), START_US)
    for second in range(SECONDS):
        frames += session.due(START_US + second * 1_000_000, START_US + (second + 1) * 1_000_000)
    records = [Record("recv", "1", frame.time_us / 1e6, data=frame.text) for frame in frames]
    return replay(feed, [Record("connect", "1", 0.0), *records], instruments)


@pytest.mark.parametrize(
    ("feed", "session", "venue", "late"),
    [
        (kraken_feed.SANDBOX, KrakenSession(KrakenStreams(HISTORY)), "kraken", 0),
        (kraken_v1_feed.V1, KrakenV1Session(KrakenV1Streams(HISTORY)), "kraken", 0),
        (coinbase_feed.SANDBOX, CoinbaseSession(CoinbaseStreams(HISTORY)), "coinbase", 200),
    ],
    ids=["kraken", "kraken-v1", "coinbase"],
)
def test_what_the_sandbox_says_is_understood_and_is_what_it_simulated(feed, session, venue, late):
    out = conversation(feed, session, venue)

    assert_explained(out)
    assert confirmed(out) == {(channel, f"{base}-USD") for channel in feed.channels for base in ("BTC", "DOGE")}
    assert out.kinds["SequenceGap"] == 0
    assert out.outcomes["applied"] > SECONDS
    assert set(out.outcomes) == {"applied"}
    assert [(book.is_right, book.is_crossed) for book in out.books.values()] == [(True, False)] * 2
    assert len(out.trades) - len(out.live()) == late
    assert out.quotes
    assert any(bar.is_closed for bar in out.bars)
    for base in ("BTC", "DOGE"):
        listing = HISTORY.simulation.listings[f"{venue}:{base}-USD"]
        traded = list(HISTORY.trades(listing, START_US + 1, START_US + SECONDS * 1_000_000 + 1))
        mine = [trade for trade in out.live() if trade.instrument == f"{venue}:{base}-USD"]
        assert len(mine) <= len(traded) <= len(mine) + 1  # the last 50 ms may still be on their way
        assert [(t.ts_event // 1_000, t.price, t.size, t.taker_side) for t in mine] == [
            (t.time_us, listing.price(t.price_ticks), listing.size(t.lots), "buy" if t.is_buy else "sell")
            for t in traded[: len(mine)]
        ]
        if feed.numbers_trades:
            assert [trade.trade_id for trade in mine] == list(range(mine[0].trade_id, mine[0].trade_id + len(mine)))
