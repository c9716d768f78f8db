"""Trades of one instrument as they may come, their bars by the batch path, and how the two are compared."""

import datetime as dt

import polars as pl
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from md_platform.domain.bars import BAR_RULE, bars_from_trades
from md_platform.domain.events import Trade
from md_platform.domain.intervals import UTC, Timeframe
from md_platform.domain.live_bars import SECOND_NS, LiveBars
from md_platform.domain.schemas import BAR_COLUMNS, CLEANED_TRADES, RAW_BARS
from md_platform.transforms.cleaned import clean_trades
from md_platform.transforms.resampled import resample

BTC = "sandbox:BTC-USDT"
MS_NS = 1_000_000
START = 1_709_078_400 * SECOND_NS  # 2024-02-28, a UTC midnight
LATENESS = 2 * SECOND_NS
COLUMNS = [column.name for column in BAR_COLUMNS]
KEY = ["timeframe", "open_time"]


def trade(seconds, trade_id, price=10.0, size=1.0, *, side="buy", count=1, received=None):
    ts = START + round(seconds * 1_000) * MS_NS
    return Trade(BTC, ts, ts + 50 * MS_NS if received is None else received, trade_id, price, size, side, count)


def moment(ns):
    return dt.datetime.fromtimestamp(ns // SECOND_NS, UTC) + dt.timedelta(microseconds=ns % SECOND_NS // 1_000)


def batch(trades, until_ns):
    """Closed bars of every timeframe, by the platform's own batch path."""
    raw = pl.DataFrame(
        {
            "instrument": BTC,
            "ts_event": [moment(t.ts_event) for t in trades],
            "ts_received": [moment(t.ts_received) for t in trades],
            "trade_id": [str(t.trade_id) for t in trades],
            "price": [t.price for t in trades],
            "size": [t.size for t in trades],
            "taker_side": [t.taker_side for t in trades],
            "trade_count": [t.trade_count for t in trades],
            "source": "trades",
        },
        schema=CLEANED_TRADES.schema,
    )
    cleaned = clean_trades(raw)
    assert cleaned.rejected.is_empty()
    seconds, minutes = (
        bars_from_trades(cleaned.kept.lazy(), timeframe, moment(until_ns)).collect()
        for timeframe in (Timeframe.S1, Timeframe.M1)
    )
    bars = pl.concat([seconds, minutes, resample(minutes, moment(until_ns))])
    return bars.filter("is_closed").sort(KEY)


def table(bars):
    """Live bars as a frame, the newest revision of each."""
    latest = {(bar.timeframe, bar.open_time): bar for bar in bars}
    rows = [
        {name: getattr(bar, name) for name in COLUMNS}
        | {name: moment(getattr(bar, name)) for name in ("open_time", "close_time", "known_at")}
        for bar in latest.values()
    ]
    return pl.DataFrame(rows, schema=RAW_BARS.schema, orient="row").sort(KEY)


def assert_equal(live, expected, *, but=()):
    assert_frame_equal(live.drop(but), expected.drop(but), rel_tol=1e-9, abs_tol=0)
    exact = [name for name, how in BAR_RULE.items() if how != "sum" or name == "trade_count"]
    exact = [*KEY, *(name for name in exact if name not in but)]
    assert_frame_equal(live.select(exact), expected.select(exact), check_exact=True)


def fed(trades, **given):
    bars = LiveBars(BTC, complete_since_ns=START, **given)
    assert bars.add_all(trades) == []
    return bars


# Times bunch together, so that trades share milliseconds, seconds and minutes.
instants = st.builds(
    lambda minute, second, ms: (minute * 60 + second) + ms / 1_000,
    st.sampled_from([0, 1, 2, 4, 5, 14, 15, 59, 60, 239, 240, 300, 1_439, 1_440, 1_442]),
    st.sampled_from([0, 1, 2, 30, 58, 59]),
    st.sampled_from([0, 1, 500, 999]),
)
made_ids = st.sampled_from([
    lambda n: n,
    str,
    lambda n: f"t{n}",
    lambda n: str(n) if n % 3 else f"x-{n}",
])  # fmt: skip


@st.composite
def tapes(draw, max_size=40):
    """Trades in the order of their ids, which need not be that of their times."""
    rows = draw(
        st.lists(
            st.tuples(
                instants,
                st.integers(1, 10**6),
                st.floats(1e-6, 1e6),
                st.sampled_from(["buy", "sell", "sell", None]),
                st.integers(1, 5),
            ),
            min_size=1,
            max_size=max_size,
        )
    )
    id_of = draw(made_ids)
    return [
        trade(at, id_of(n), price / 100, size, side=side, count=count)
        for n, (at, price, size, side, count) in enumerate(rows)
    ]


def arriving(draw, tape, most_ns):
    """The tape as it might arrive: each trade up to `most_ns` after a trade of its own time would."""
    delays = draw(st.lists(st.integers(0, most_ns), min_size=len(tape), max_size=len(tape)))
    return [t for _, _, t in sorted((t.ts_event + d, n, t) for n, (t, d) in enumerate(zip(tape, delays, strict=True)))]


def names(bars):
    return [(bar.timeframe, (bar.open_time - START) // SECOND_NS) for bar in bars]
