"""What repairs say and take: trades where history gave trades, bars where it gave minutes; only ids of the feed's own."""

import dataclasses
from collections.abc import Sequence

import pytest

from md_platform.domain.events import FeedNotice, Trade
from md_platform.domain.instruments import Instrument
from md_platform.domain.wire import Published
from md_platform.venues.binance_feed import SPOT
from md_platform.venues.ccxt_feed import feed_of
from md_platform_tests.live_rows import BTC, MIDNIGHT, MINUTE, SECOND, bar, trade
from streaming.holes import Hole
from streaming.pipeline import Pipeline
from streaming.tracked import Tail


@pytest.mark.parametrize(("by_bars", "channels"), [(False, ["trades"]), (True, ["bars"])])
def test_a_repair_names_the_channel_that_it_filled(*, by_bars: bool, channels: list[str]) -> None:
    said: list[Published] = []

    def put(events: Sequence[Published]) -> None:
        said.extend(events)

    instrument = Instrument.parse(BTC)
    pipeline = Pipeline(put, now_ns=lambda: MIDNIGHT + 5 * MINUTE)
    pipeline.track(instrument, SPOT, Tail(MIDNIGHT))
    gap = FeedNotice("gap", "binance", SPOT.name, "spot-0", MIDNIGHT + MINUTE, "disconnected")
    hole = Hole(instrument, MIDNIGHT, MIDNIGHT + MINUTE, gap)
    if by_bars:
        pipeline.holes.repaired(dataclasses.replace(hole, by_bars=True), [bar(0)])
    else:
        pipeline.holes.repaired(hole, [trade(0, ts_event=MIDNIGHT + SECOND)])
    (repair,) = [event for event in said if isinstance(event, FeedNotice)]
    assert (repair.kind, repair.channels, repair.instruments) == ("repaired", channels, [BTC])
    assert any(isinstance(event, Trade) for event in said) != by_bars


def test_history_of_ccxt_is_taken_once_it_gave_a_trade_by_the_id_that_the_feed_gave_it() -> None:
    said: list[Published] = []
    pipeline = Pipeline(said.extend, now_ns=lambda: MIDNIGHT + 5 * MINUTE)
    instrument = Instrument.parse(BTC)
    streamed, missed, otherwise = (trade(id_, ts_event=MIDNIGHT + id_ * SECOND) for id_ in (1, 2, 9))
    pipeline.track(instrument, feed_of("binance"), Tail(MIDNIGHT, [streamed]))
    gap = FeedNotice("gap", "binance", "ccxt-binance", "ccxt-binance-0", MIDNIGHT + MINUTE, "disconnected")
    hole = Hole(instrument, MIDNIGHT + 2 * SECOND, MIDNIGHT + 3 * SECOND, gap, needs_proof=True)
    assert not pipeline.holes.repaired(hole, [otherwise])
    assert said == []
    assert pipeline.holes.repaired(hole, [streamed, missed])
    assert [event.trade_id for event in said if isinstance(event, Trade)] == [missed.trade_id]
    assert pipeline.holes.repaired(hole, [otherwise])
