"""What a repair says was repaired: trades where history gave trades, bars where it gave whole minutes as bars."""

import dataclasses
from collections.abc import Sequence

import pytest

from md_platform.domain.events import FeedNotice, Trade
from md_platform.domain.instruments import Instrument
from md_platform.domain.wire import Published
from md_platform.venues.binance_feed import SPOT
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
