"""A process that was held up catches up: the trades in its sockets come before time closes their bars."""

from md_platform.domain.events import Bar, Trade
from md_platform.domain.wire import Published
from md_platform.venues.binance_feed import SPOT
from md_platform.venues.feeds import Subscription
from md_platform_tests.streaming.venue import BTC
from streaming.connection import Connection
from streaming.limits import Pacer
from streaming.link import Link
from streaming.pipeline import Pipeline
from streaming.tracked import Tail

SECOND_NS = 1_000_000_000
START_NS = 1_700_000_000 * SECOND_NS


def test_what_waited_in_sockets_makes_no_revisions() -> None:
    out: list[Published] = []
    now_ns = START_NS
    pipeline = Pipeline(out.extend, now_ns=lambda: now_ns)
    pipeline.track(BTC, SPOT, Tail(START_NS))
    pacer = Pacer(SPOT.connect_limit, SPOT.message_limit)
    connection = Connection(
        "binance", SPOT, "binance-0", [Subscription("trades", BTC)], ["ws://"], pipeline, pacer, Link
    )
    link = connection.make_link(connection, "ws://")
    waiting = [Trade(BTC.id, START_NS + n * SECOND_NS // 10, 0, n + 1, 100.0, 1.0, "buy") for n in range(400)]

    def read(count: int) -> None:
        for trade in (read := [waiting.pop(0) for _ in range(count)]):
            trade.ts_received = now_ns
        pipeline.events(link, read)
        pipeline.tick(running=True)

    for _ in range(100):
        read(1)
        now_ns += SECOND_NS // 10
    now_ns += 20 * SECOND_NS  # the machine had other things to do
    while waiting:
        read(20)
        now_ns += SECOND_NS // 20
    now_ns += 5 * SECOND_NS
    pipeline.tick(running=True)
    seconds = [each for each in out if isinstance(each, Bar) and each.timeframe == "1s" and each.is_closed]
    assert [bar.open_time for bar in seconds] == [START_NS + n * SECOND_NS for n in range(40)]
    assert {(bar.revision, bar.trade_count) for bar in seconds} == {(0, 10)}
    assert pipeline.counts.too_late == 0
