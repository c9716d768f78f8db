"""Laws that hold for every venue: paging returns each row once, and garbage raises nothing but our own errors."""

import contextlib
import datetime as dt
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Interval, Timeframe
from md_platform.domain.schemas import RAW_BARS, RAW_TRADES
from md_platform.errors import MdpError
from md_platform.sources.rest import joined
from md_platform.venues import VENUES, binance, coinbase, kraken
from md_platform.venues.spec import Query, Request

DAY = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
START_S = int(DAY.timestamp())
LATER = DAY + dt.timedelta(days=30)
PROTOCOLS = [spec for spec in VENUES if spec.history is not None]


def query_of(spec, interval):
    return Query(Instrument(spec.id, "BTC", "USD", "NATIVE"), interval, spec.id, LATER)


def walk(parse, request, query, answer):
    """Follow `request` page by page, as the engine does, and return the pages."""
    frames = []
    while request is not None:
        page = parse(json.dumps(answer(request)).encode(), request, query)
        frames.append(page.frame)
        request = page.following
        assert len(frames) < 5_000, "paging does not end"
    return frames


def binance_answer(trades, minutes, page_size):
    def answer(request: Request):
        asked = request.params
        if request.path.endswith("klines"):
            rows = [
                [m * 60_000, "1", "2", "0.5", "1.5", "3", m * 60_000 + 59_999, "4", 5, "1", "2", "0"]
                for m in minutes
                if asked["startTime"] <= m * 60_000 <= asked["endTime"]
            ]
            return rows[:page_size]
        rows = [{"a": i, "p": "1", "q": "2", "f": i, "l": i, "T": t // 1_000, "m": True} for i, t in trades]
        if "fromId" in asked:
            return [row for row in rows if row["a"] >= asked["fromId"]][:page_size]
        return [row for row in rows if asked["startTime"] <= row["T"] <= asked["endTime"]][:page_size]

    return answer


def coinbase_answer(trades, minutes, page_size):
    def answer(request: Request):
        asked = request.params
        if request.path.endswith("candles"):
            rows = [m * 60 for m in minutes if asked["start"] <= m * 60 < asked["end"]]
            return {
                "candles": [
                    {"start": str(t), "low": "1", "high": "2", "open": "1", "close": "2", "volume": "3"}
                    for t in reversed(rows)
                ]
            }
        rows = [
            {"trade_id": str(i), "price": "1", "size": "2", "time": iso(t), "side": "BUY"}
            for i, t in trades
            if asked["start"] * 1_000_000 <= t <= asked["end"] * 1_000_000
        ]
        return {"trades": rows[::-1][:page_size]}

    return answer


def iso(micros):
    return f"{dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=micros):%Y-%m-%dT%H:%M:%S.%fZ}"


def kraken_answer(trades, minutes, page_size):
    def answer(request: Request):
        since = int(request.params["since"])
        if request.path.endswith("OHLC"):
            rows = [[m * 60, "1", "2", "0.5", "1.5", "1.2", "3", 5] for m in minutes if m * 60 > since]
            return {"error": [], "result": {"XXBTZUSD": rows, "last": 1}}
        found = [(i, t) for i, t in trades if t * 1_000 > since][:page_size]
        rows = [["1", "2", t / 1_000_000, "b", "m", "", i] for i, t in found]
        last = found[-1][1] * 1_000 if found else since
        return {"error": [], "result": {"XXBTZUSD": rows, "last": str(last)}}

    return answer


ANSWERS = {binance: binance_answer, coinbase: coinbase_answer, kraken: kraken_answer}
BY_PROTOCOL = [pytest.param(module, ANSWERS[module], id=module.VENUES[0].id) for module in ANSWERS]


@pytest.mark.parametrize(("module", "answers"), BY_PROTOCOL)
@given(
    steps=st.lists(st.integers(1_000, 7_000_000_000), max_size=120),
    page_size=st.integers(1, 40),
    hours=st.integers(1, 24),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_trades_of_any_page_size_come_once_and_in_order(module, answers, steps, page_size, hours):
    spec = module.VENUES[0]
    times = [START_S * 1_000_000 - 3_600_000_000]
    for step in steps:
        # Coinbase pages by whole seconds and Binance tells ms: no more than a page in one second is promised
        times.append(times[-1] + max(step, 1_100_000) // 1_000 * 1_000)
    trades = list(enumerate(times, start=100))
    interval = Interval(DAY, DAY + dt.timedelta(hours=hours))
    query = query_of(spec, interval)
    frames = walk(
        spec.history.parse_trades,
        spec.history.trades_request(query.instrument, interval),
        query,
        answers(trades, [], page_size),
    )
    frame = joined(frames, RAW_TRADES, interval)
    end = (START_S + hours * 3_600) * 1_000_000
    assert frame["trade_id"].to_list() == [str(i) for i, t in trades if START_S * 1_000_000 <= t < end]
    assert frame.schema == RAW_TRADES.schema


@pytest.mark.parametrize(("module", "answers"), BY_PROTOCOL)
@given(
    minutes=st.sets(st.integers(START_S // 60 - 100, START_S // 60 + 1_600), max_size=200),
    page_size=st.integers(1, 200),
    hours=st.integers(1, 24),
)
@settings(max_examples=30, deadline=None)
def test_bars_of_any_page_size_come_once_and_in_order(module, answers, minutes, page_size, hours):
    spec = module.VENUES[0]
    interval = Interval(DAY, DAY + dt.timedelta(hours=hours))
    query = query_of(spec, interval)
    frames = walk(
        spec.history.parse_bars,
        spec.history.bars_request(query.instrument, Timeframe.M1, interval),
        query,
        answers([], sorted(minutes), page_size),
    )
    frame = joined(frames, RAW_BARS, interval)
    wanted = sorted(m for m in minutes if START_S // 60 <= m < START_S // 60 + hours * 60)
    assert frame["open_time"].dt.epoch("s").to_list() == [m * 60 for m in wanted]
    assert frame.schema == RAW_BARS.schema


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "result",
                    "error",
                    "last",
                    "XXBTZUSD",
                    "candles",
                    "trades",
                    "products",
                    "symbols",
                    "symbol",
                    "a",
                    "T",
                    "x",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
rows = st.lists(st.lists(scalars, min_size=7, max_size=13), max_size=4)
objects = st.lists(
    st.fixed_dictionaries(
        dict.fromkeys(
            [
                "a",
                "p",
                "q",
                "f",
                "l",
                "T",
                "m",
                "trade_id",
                "price",
                "size",
                "time",
                "side",
                "start",
                "open",
                "high",
                "low",
                "close",
                "volume",
                "symbol",
                "baseAsset",
                "quoteAsset",
                "product_id",
                "base_currency_id",
                "quote_currency_id",
            ],
            scalars,
        )
    ),
    max_size=3,
)
wrapped = st.one_of(
    rows,
    objects,
    st.builds(lambda r: {"candles": r, "trades": r, "products": r, "symbols": r}, objects),
    st.builds(lambda r, last: {"error": [], "result": {"PAIR": r, "last": last}}, rows, scalars),
)
payloads = st.binary(max_size=60) | (documents | wrapped).map(lambda value: json.dumps(value).encode())


@pytest.mark.parametrize("spec", PROTOCOLS, ids=lambda spec: spec.id)
@given(payload=payloads, status=st.integers(100, 599))
@settings(max_examples=150, deadline=None)
def test_whatever_a_venue_answers_only_our_errors_are_raised(spec, payload, status):
    history, interval = spec.history, Interval(DAY, DAY + dt.timedelta(days=1))
    query = query_of(spec, interval)
    calls = [
        lambda: history.parse_bars(payload, history.bars_request(query.instrument, Timeframe.M1, interval), query),
        lambda: history.parse_trades(payload, history.trades_request(query.instrument, interval), query),
        lambda: history.parse_instruments(payload, spec.id),
    ]
    for call in calls:
        with contextlib.suppress(MdpError):
            call()
    error = history.parse_error(status, {"retry-after": payload.decode(errors="replace")}, payload)
    assert isinstance(error, MdpError)
    assert error.retryable == (status in (418, 429) or status >= 500)


@pytest.mark.parametrize("spec", PROTOCOLS, ids=lambda spec: spec.id)
@pytest.mark.parametrize("cell", ["abc", None, {}, "", "1,5"])
def test_a_cell_that_is_no_number_becomes_null_and_its_neighbours_stay(spec, cell):
    history, interval = spec.history, Interval(DAY, DAY + dt.timedelta(days=1))
    query = query_of(spec, interval)
    answers = next(ANSWERS[m] for m in ANSWERS if spec in m.VENUES)([(1, START_S * 1_000_000)], [START_S // 60], 10)
    request = history.bars_request(query.instrument, Timeframe.M1, interval)
    answer = answers(request)
    row = {"binance": lambda: answer[0], "coinbase": lambda: answer["candles"][0]}.get(
        spec.id.removeprefix("sandbox-").replace("sandbox", "binance"), lambda: answer["result"]["XXBTZUSD"][0]
    )()
    row["open" if isinstance(row, dict) else 1] = cell
    bar = history.parse_bars(json.dumps(answer).encode(), request, query).frame.row(0, named=True)
    assert bar["open"] is None
    assert bar["high"] == 2.0
    assert bar["open_time"] == DAY


def test_the_frame_of_no_rows_has_the_schema():
    query = query_of(binance.BINANCE, Interval(DAY, DAY + dt.timedelta(hours=1)))
    page = binance.parse_bars(b"[]", binance.bars_request(query.instrument, Timeframe.M1, query.interval), query)
    assert page.frame.schema == RAW_BARS.schema
    assert page.following is None
