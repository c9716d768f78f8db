"""How bars combine: from trades by hand-computed example, from shorter bars to longer ones by any route."""

import datetime as dt
import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from md_platform.domain.bars import bars_from_trades, roll_up
from md_platform.domain.intervals import UTC, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, CLEANED_TRADES

START = dt.datetime(2024, 2, 29, tzinfo=UTC)
MINUTE = dt.timedelta(minutes=1)
LATER = dt.datetime(2024, 3, 2, 8, 0, tzinfo=UTC)


def trades(*rows):
    """Rows of (second of the day, price, size, taker's side, fills)."""
    return pl.LazyFrame(
        {
            "instrument": "binance:BTC-USDT",
            "ts_event": [START + dt.timedelta(seconds=row[0]) for row in rows],
            "ts_received": [LATER + dt.timedelta(seconds=n) for n in range(len(rows))],
            "trade_id": [str(n) for n in range(len(rows))],
            "price": [row[1] for row in rows],
            "size": [row[2] for row in rows],
            "taker_side": [row[3] for row in rows],
            "trade_count": [row[4] for row in rows],
            "source": "binance",
        },
        schema=CLEANED_TRADES.schema,
    )


def minutes(*rows, source="binance", is_closed=True):
    """Rows of (minute of the day, close, volume, quote volume or None)."""
    opened = [START + row[0] * MINUTE for row in rows]
    return pl.LazyFrame(
        {
            "instrument": "binance:BTC-USDT",
            "timeframe": "1m",
            "open_time": opened,
            "close_time": [moment + MINUTE for moment in opened],
            "open": [row[1] - 1 for row in rows],
            "high": [row[1] + 2 for row in rows],
            "low": [row[1] - 3 for row in rows],
            "close": [row[1] for row in rows],
            "volume": [row[2] for row in rows],
            "quote_volume": [row[3] for row in rows],
            "vwap": None,
            "trade_count": 2,
            "taker_buy_volume": [row[2] / 2 for row in rows],
            "taker_buy_quote_volume": None,
            "is_closed": is_closed,
            "source": source,
            "revision": [row[0] % 2 for row in rows],
            "known_at": [LATER + row[0] * MINUTE for row in rows],
        },
        schema=CLEANED_BARS.schema,
    )


def test_trades_become_the_bars_that_one_works_out_by_hand():
    bars = bars_from_trades(
        trades(
            (0, 100.0, 1.0, "buy", 1),
            (30, 104.0, 0.5, "sell", 3),
            (59.999999, 98.0, 2.0, "buy", 1),
            (60, 99.0, 4.0, "sell", 1),  # the first instant of the next minute
            (200, 97.0, 1.0, None, 1),  # nobody knows who took: minute 2 has no trade at all
            (201, 97.5, 1.0, "buy", 1),
        ),
        Timeframe.M1,
        START + 4 * MINUTE,
    ).collect()
    assert bars.schema == CLEANED_BARS.schema
    assert bars.select(
        pl.col("open_time").dt.strftime("%H:%M"), "open", "high", "low", "close", "volume", "quote_volume",
        "trade_count", "taker_buy_volume", "taker_buy_quote_volume", "is_closed",
    ).rows() == [
        ("00:00", 100.0, 104.0, 98.0, 98.0, 3.5, 348.0, 5, 3.0, 296.0, True),
        ("00:01", 99.0, 99.0, 99.0, 99.0, 4.0, 396.0, 1, 0.0, 0.0, True),
        ("00:03", 97.0, 97.5, 97.0, 97.5, 2.0, 194.5, 2, None, None, True),
    ]  # fmt: skip
    assert bars["vwap"].to_list() == [348.0 / 3.5, 99.0, 97.25]
    assert bars["known_at"].to_list() == [LATER + dt.timedelta(seconds=n) for n in (2, 3, 5)]
    assert set(bars["revision"]) == {0}


def test_minutes_become_the_bar_that_one_works_out_by_hand():
    bar = roll_up(minutes((0, 10.0, 1.0, 10.0), (1, 20.0, 3.0, 60.0), (4, 5.0, 0.0, 0.0)), Timeframe.M5, LATER)
    assert bar.collect().row(0, named=True) == {
        "instrument": "binance:BTC-USDT",
        "timeframe": "5m",
        "open_time": START,
        "close_time": START + 5 * MINUTE,
        "open": 9.0,
        "high": 22.0,
        "low": 2.0,
        "close": 5.0,
        "volume": 4.0,
        "quote_volume": 70.0,
        "vwap": 17.5,
        "trade_count": 6,
        "taker_buy_volume": 2.0,
        "taker_buy_quote_volume": None,
        "is_closed": True,
        "source": "binance",
        "revision": 1,
        "known_at": LATER + 4 * MINUTE,
    }


def test_an_unknown_part_makes_the_sum_unknown_and_only_that():
    rolled = roll_up(minutes((0, 10.0, 1.0, 10.0), (1, 20.0, 3.0, None), (5, 7.0, 2.0, 14.0)), Timeframe.M5, LATER)
    assert rolled.select("volume", "quote_volume", "vwap").collect().rows() == [(4.0, None, None), (2.0, 14.0, 7.0)]


def test_a_bar_without_volume_has_no_average_price():
    assert roll_up(minutes((0, 10.0, 0.0, 0.0)), Timeframe.M5, LATER).collect()["vwap"].to_list() == [None]


def test_a_bar_is_provisional_until_the_input_reaches_its_end():
    bars = minutes((0, 10.0, 1.0, 10.0), (59, 20.0, 3.0, 60.0), (60, 5.0, 1.0, 5.0))
    for until, closed in ((START + 60 * MINUTE, [True, False]), (START + 59 * MINUTE, [False, False])):
        assert roll_up(bars, Timeframe.H1, until).collect()["is_closed"].to_list() == closed


def test_a_bar_with_a_running_member_still_runs():
    assert roll_up(minutes((0, 10.0, 1.0, 10.0), is_closed=False), Timeframe.M5, LATER).collect()[
        "is_closed"
    ].to_list() == [False]


@pytest.mark.parametrize("timeframe", list(Timeframe)[2:])
def test_nothing_makes_nothing(timeframe):
    assert roll_up(minutes(), timeframe, LATER).collect().equals(pl.DataFrame(schema=CLEANED_BARS.schema))
    assert bars_from_trades(trades(), timeframe, LATER).collect().schema == CLEANED_BARS.schema


rows_of_a_week = st.lists(
    st.tuples(
        st.integers(0, 7 * 1_440 - 1),
        st.floats(0.01, 1e5),
        st.floats(0, 1e6),
        st.floats(0, 1e9) | st.none(),
    ),
    min_size=1,
    max_size=80,
    unique_by=lambda row: row[0],
).map(sorted)

ROUTES = [
    (Timeframe.M5, Timeframe.H1),
    (Timeframe.M15, Timeframe.H4),
    (Timeframe.H1, Timeframe.D1),
    (Timeframe.D1, Timeframe.W1),
    (Timeframe.D1, Timeframe.MONTH1),
]


@given(rows_of_a_week, st.sampled_from(ROUTES))
def test_the_route_to_a_longer_bar_does_not_matter(rows, route):
    by_way, target = route
    direct = roll_up(minutes(*rows), target, LATER).collect()
    stepwise = roll_up(roll_up(minutes(*rows), by_way, LATER), target, LATER).collect()
    assert_frame_equal(direct.drop("is_closed"), stepwise.drop("is_closed"), rel_tol=1e-12, abs_tol=1e-9)
    assert direct["is_closed"].equals(stepwise["is_closed"])


@given(rows_of_a_week, st.sampled_from([Timeframe.M5, Timeframe.H4, Timeframe.W1, Timeframe.MONTH1]))
def test_longer_bars_hold_what_their_members_hold(rows, timeframe):
    bars = minutes(*rows).collect()
    rolled = roll_up(bars.lazy(), timeframe, LATER).collect()
    assert math.isclose(rolled["volume"].sum(), bars["volume"].sum(), rel_tol=1e-12, abs_tol=1e-9)
    assert rolled["trade_count"].sum() == bars["trade_count"].sum()
    assert (rolled["high"].max(), rolled["low"].min()) == (bars["high"].max(), bars["low"].min())
    assert (rolled["open"][0], rolled["close"][-1]) == (bars["open"][0], bars["close"][-1])
    assert rolled["open_time"].to_list() == sorted({timeframe.open_time(row) for row in bars["open_time"]})
    assert rolled["close_time"].to_list() == [timeframe.close_time(opened) for opened in rolled["open_time"]]


@given(rows_of_a_week)
def test_bars_from_trades_roll_up_to_the_longer_bars_from_trades(rows):
    ticks = trades(*((row[0] * 60 % 86_400 + n / 100, row[1], row[2] + 0.5, "buy", 1) for n, row in enumerate(rows)))
    ticks = ticks.sort("ts_event")
    direct = bars_from_trades(ticks, Timeframe.H1, LATER).collect()
    stepwise = roll_up(bars_from_trades(ticks, Timeframe.M1, LATER), Timeframe.H1, LATER).collect()
    assert_frame_equal(direct, stepwise, rel_tol=1e-12, abs_tol=1e-9)
