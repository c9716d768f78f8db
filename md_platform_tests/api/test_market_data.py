"""The market data routes: what they answer, on a real server with real stores."""

import datetime as dt
import io
import json
import re
from urllib.parse import quote
from xml.etree import ElementTree as ET

import polars as pl
import pytest
import redis

from md_platform.catalog.exporting import export_rows
from md_platform.catalog.ledger import PartitionRecord
from md_platform.catalog.reading import Selection
from md_platform.domain.events import Book
from md_platform.domain.indicators import Ohlcv, parse_spec
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY, UTC, Interval, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, CLEANED_TRADES, RESAMPLED_BARS
from md_platform.domain.wire import encode
from md_platform.storage.migrate import migrate
from md_platform.transforms.resampled import resample
from md_platform_tests.api_server import Served, served, stores_of
from md_platform_tests.rows import BTC, DAY0, day_of_bars, trade, trade_rows

DAYS = 4
ETH = "binance:ETH-USDT"
START, END = DAY0, DAY0 + DAYS * DAY
PATH = quote("binance:BTC/USDT", safe="")


@pytest.fixture(scope="module")
def api(tmp_path_factory, module_database_url, module_redis_url):
    migrate(module_database_url)
    stores = stores_of(tmp_path_factory.mktemp("api"), module_database_url, module_redis_url)
    stores.ledger.register([(Instrument.parse(BTC, native="BTCUSDT"), "crypto"), (Instrument.parse(ETH), "crypto")])
    for n in range(DAYS):
        date = (START + n * DAY).date()
        bars = day_of_bars(date)
        keep(stores, CLEANED_BARS, date, bars, {})
        keep(stores, RESAMPLED_BARS, date, resample(bars, Interval.day(date).end), {"cleaned_bars": "cleaned_bars"})
    trades = trade_rows(trade(n // 3, str(n), 10.0 + n) for n in range(1_000))
    keep(stores, CLEANED_TRADES, START.date(), trades, {})
    with served(stores) as running:
        yield running


def keep(stores, dataset, date, frame, inputs):
    stores.lake.write(stores.lake.path(dataset, BTC, date), frame)
    record = PartitionRecord(
        dataset.name, BTC, date, "ok", frame.height, sha256=dataset.name, evidence={"inputs": inputs}
    )
    stores.ledger.record([record])


def rows_of(answer) -> pl.DataFrame:
    assert answer.status_code == 200, answer.text
    return pl.read_ipc_stream(answer.content).cast({pl.Categorical: pl.String})


def get(api: Served, path: str, **params):
    return api.client.get(f"/api/v1/{path}", params=params, headers={"accept": "application/vnd.apache.arrow.stream"})


def ask(api: Served, path: str, **params):
    answer = api.client.get(f"/api/v1/{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_bars_equal_what_mdp_export_writes(api):
    stores = api.app.state.stores
    start, end = START + dt.timedelta(hours=7), END - dt.timedelta(hours=3)
    for dataset, timeframe in ((CLEANED_BARS, "1m"), (RESAMPLED_BARS, "1h")):
        selection = Selection(dataset, BTC, Interval(start, end), Timeframe(timeframe))
        written = io.BytesIO()
        export_rows(stores.reader.frames(selection, stores.reader.chunks(selection)), "csv", written)
        answer = api.client.get(f"/api/v1/bars/{PATH}", params={"timeframe": timeframe, "start": start.isoformat(),
                                "end": str(int(end.timestamp())), "format": "csv"})  # fmt: skip
        assert answer.content == written.getvalue()


@pytest.mark.parametrize("end", ["1709424000", "1709424000000", "1709424000000000000", "2024-03-03T00:00:00+00:00"])
def test_times_are_taken_in_any_unit(api, end):
    assert rows_of(get(api, f"bars/{BTC}", end=end, limit=3))["open_time"].to_list() == []
    assert rows_of(get(api, f"bars/{BTC}", start="2024-02-28", end=end, limit=3, timeframe="1d")).height == 2


def test_an_answer_of_settled_days_is_tagged_and_not_sent_again(api):
    params = {"start": START.isoformat(), "end": END.isoformat(), "timeframe": "1h"}
    first = api.client.get(f"/api/v1/bars/{BTC}", params=params)
    assert first.json()["meta"]["is_settled"]
    again = api.client.get(f"/api/v1/bars/{BTC}", params=params, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_pages_make_the_whole(api):
    whole = rows_of(get(api, f"bars/{BTC}", start=START.isoformat(), end=END.isoformat()))
    parts, cursor = [], None
    while True:
        given = {"cursor": cursor} if cursor else {"start": START.isoformat(), "end": END.isoformat()}
        answer = get(api, f"history/{BTC}", limit=997, **given)
        parts.append(rows_of(answer))
        cursor = answer.headers.get("x-next-cursor")
        if cursor is None:
            break
    assert pl.concat(parts).equals(whole)
    assert len(parts) == 6
    refused = get(api, f"history/{ETH}", cursor=json.loads("null") or "bm9uZQ==")
    assert (refused.status_code, refused.json()["title"]) == (422, "invalid parameter")


def test_trades_of_one_instant_are_not_torn_by_pages(api):
    ids, cursor = [], None
    while True:
        given = {"cursor": cursor} if cursor else {"start": START.isoformat(), "end": (START + DAY).isoformat()}
        answer = get(api, f"history/{BTC}", kind="trades", limit=100, **given)
        ids += rows_of(answer)["trade_id"].to_list()
        cursor = answer.headers.get("x-next-cursor")
        if cursor is None:
            break
    assert ids == [str(n) for n in range(1_000)]
    last = get(api, f"trades/{BTC}", end=(START + DAY).isoformat(), limit=5)
    assert rows_of(last)["trade_id"].to_list() == ["995", "996", "997", "998", "999"]


def test_filling_marks_what_was_never_observed(api):
    start = END - dt.timedelta(minutes=2)
    rows = rows_of(get(api, f"bars/{BTC}", start=start.isoformat(), end=(END + dt.timedelta(minutes=3)).isoformat(),
                       fill="previous"))  # fmt: skip
    assert rows["is_filled"].to_list() == [False, False, True, True, True]
    assert rows["close"].n_unique() == 2
    assert rows["volume"].to_list()[2:] == [0.0, 0.0, 0.0]


def test_weeks_and_months_are_derived_where_they_are_not_stored(api):
    rows = rows_of(get(api, f"bars/{BTC}", timeframe="1w", start="2024-02-01", end="2024-03-10"))
    days = rows_of(get(api, f"bars/{BTC}", timeframe="1d", start="2024-02-01", end="2024-03-10"))
    assert rows["open_time"].to_list() == [START]
    assert rows["volume"][0] == pytest.approx(days["volume"].sum())
    months = rows_of(get(api, f"bars/{BTC}", timeframe="1M", start="2024-02-01", end="2024-03-10"))
    assert [time.month for time in months["open_time"]] == [2]


def test_indicators_equal_those_of_the_longest_series(api):
    everything = Ohlcv.from_frame(rows_of(get(api, f"bars/{BTC}", start=START.isoformat(), end=END.isoformat())))
    start = END - dt.timedelta(minutes=30)
    answer = api.client.post(f"/api/v1/indicators/{PATH}/batch", json={"indicators": ["ema(20)", "macd", "rsi(14)"],
                             "start": start.isoformat(), "end": END.isoformat()},
                             headers={"accept": "application/vnd.apache.arrow.stream"})  # fmt: skip
    rows = rows_of(answer)
    for text in ("ema(20)", "macd", "rsi(14)"):
        spec = parse_spec(text)
        for name, values in zip(spec.columns, spec.evaluate(everything), strict=True):
            assert rows[name].to_list() == pytest.approx(values[-30:].tolist(), rel=1e-9)
    one = rows_of(get(api, f"indicators/{PATH}/ema", params="20", start=start.isoformat(), end=END.isoformat()))
    assert one["ema_20"].equals(rows["ema_20"])


def test_a_custom_expression(api):
    body = {"instrument": BTC, "expression": "(close - sma(20)) / atr(14) > 0", "start": START.isoformat(),
            "end": END.isoformat()}  # fmt: skip
    answer = api.client.post("/api/v1/indicators/custom", json=body)
    values = answer.json()["data"]["value"]
    assert set(values) == {None, 0.0, 1.0}
    assert values.index(1.0) == 19
    wrong = api.client.post("/api/v1/indicators/custom", json={**body, "expression": "close.__class__"})
    assert (wrong.status_code, wrong.json()["title"]) == (422, "invalid expression")


def test_statistics_and_correlation(api):
    found = ask(api, f"stats/{BTC}", timeframe="1h", start=START.isoformat(), end=END.isoformat(), benchmark=BTC)
    assert (found["bars"], found["beta"]) == (96, pytest.approx(1.0))
    assert found["max_drawdown"]["depth"] < 0 < found["volatility"]
    table = ask(api, "correlation", ids=f"{BTC},{ETH}", timeframe="1h", start=START.isoformat(), end=END.isoformat())
    assert table["data"]["returns"] == [0]


def test_last_prices_books_and_movers(api, redis_url):
    now_ns = int(dt.datetime.now(UTC).timestamp() * 1e9)
    with redis.Redis.from_url(redis_url) as client:
        client.hset(f"md:latest:{BTC}", mapping={"price": 101.5, "size": 2, "trade_ts": now_ns, "bid": 101, "bid_size": 1,
                    "ask": 102, "ask_size": 3, "open_24h": 100, "high_24h": 110, "low_24h": 90, "volume_24h": 5,
                    "quote_volume_24h": "nan", "change_24h": 0.015, "ts_24h": now_ns, "whole_24h": 1})  # fmt: skip
        book = Book(BTC, now_ns, now_ns - 90 * 10**9, [(101.0, 1.0), (100.0, 2.0)], [(102.0, 3.0)], 7)
        client.set(f"md:latest-book:{BTC}", encode([book]))
        client.zadd("md:movers:24h:USDT", {BTC: 0.015, ETH: -0.2})
        client.zadd("md:volume:24h:USDT", {BTC: 5.0, ETH: 7.0})
    found = ask(api, f"latest/{PATH}")
    assert (found["price"], found["day"]["high"], found["day"]["quote_volume"], found["is_stale"]) == (
        101.5,
        110,
        None,
        False,
    )
    assert [each["instrument"] for each in ask(api, "latest", ids=f"{BTC},{ETH}")] == [BTC]
    assert ask(api, "quotes", ids=BTC) == [{"instrument": BTC, "bid": 101, "bid_size": 1, "ask": 102, "ask_size": 3}]
    top = ask(api, f"orderbook/{PATH}", depth=1)
    assert (top["bids"], top["asks"], top["is_stale"]) == ([[101, 1]], [[102, 3]], True)
    assert top["age_ms"] >= 90_000
    (summary,) = ask(api, "market-summary", quote="usdt")
    assert [each["instrument"] for each in summary["gainers"] + summary["losers"]] == [BTC, ETH]
    assert summary["volume_leaders"][0] == {"instrument": ETH, "value": 7}
    assert api.client.get(f"/api/v1/orderbook/{ETH}").status_code == 404
    assert api.client.get(f"/api/v1/latest/{ETH}").status_code == 404


def test_instruments_are_found_changed_and_delisted(api):
    body = {"id": "kraken:SOL-USD", "native": "SOLUSD", "tags": ["layer1"], "tick_size": 0.01}
    assert api.client.post("/api/v1/instruments", json=body).status_code == 201
    assert api.client.post("/api/v1/instruments", json=body).status_code == 422
    assert ask(api, "instruments", tag="layer1")["total"] == 1
    assert ask(api, "instruments", search="sol/usd")["instruments"][0]["base"] == "SOL"
    changed = api.client.patch("/api/v1/instruments/kraken:SOL-USD", json={"name": "Solana", "lot_size": 0.5})
    assert (changed.json()["name"], changed.json()["tick_size"], changed.json()["lot_size"]) == ("Solana", 0.01, 0.5)
    assert api.client.delete("/api/v1/instruments/kraken:SOL-USD").json()["status"] == "delisted"
    assert ask(api, "instruments", status="active", venue="kraken")["total"] == 0
    assert {"id": "kraken", "instruments": 1} in ask(api, "venues")
    assert ask(api, "instruments/binance:BTCUSDT")["id"] == BTC
    assert len(ask(api, "timeframes")) == 10


@pytest.mark.parametrize(
    "path", ["bars/binance:NOPE", "latest/NOPE", "trades/x:Y-Z", "indicators/binance:BTC-USDT/nope"]
)
def test_what_is_not_known_is_not_found(api, path):
    answer = api.client.get(f"/api/v1/{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "params",
    [{"start": "yesterday"}, {"timeframe": "2m"}, {"start": "2024-03-01", "end": "2024-02-01"}, {"limit": 0},
     {"fill": "zero"}, {"as_of": "x"}, {"start": "0001-01-01", "limit": 1_000_001}],
)  # fmt: skip
def test_requests_of_no_sense_are_refused(api, params):
    assert api.client.get(f"/api/v1/bars/{BTC}", params=params).status_code == 422


@pytest.mark.parametrize(
    ("start", "first", "count"),
    [("2024-02-26", START, 3), ("2000-01-01", START, 3), ("2024-02-29T23:58", END - dt.timedelta(minutes=2), 2)],
)
def test_the_first_bars_after_a_time_are_given_however_long_ago_it_is(api, start, first, count):
    rows = rows_of(get(api, f"bars/{BTC}", start=start, limit=3))
    assert rows["open_time"].to_list() == [first + dt.timedelta(minutes=n) for n in range(count)]
    filled = rows_of(get(api, f"bars/{BTC}", start=first.isoformat(), limit=3, fill="previous"))
    assert filled["is_filled"].to_list() == [False] * count + [True] * (3 - count)


def test_too_many_bars_are_refused_before_they_are_read(api):
    answer = api.client.get(f"/api/v1/bars/{BTC}", params={"start": "2000-01-01"})
    assert (answer.status_code, answer.json()["title"]) == (413, "too large")


def test_what_is_drawn_in_longer_bars_keeps_every_extreme(api):
    span = {"start": START.isoformat(), "end": END.isoformat()}
    minutes = rows_of(get(api, f"bars/{PATH}", timeframe="1m", **span))
    drawn = rows_of(get(api, f"bars/{PATH}", timeframe="1m", max_points=400, **span))
    assert (drawn["timeframe"][0], drawn.height) == ("15m", DAYS * 96)
    assert drawn["high"].max() == minutes["high"].max()
    assert drawn["low"].min() == minutes["low"].min()
    assert drawn["volume"].sum() == pytest.approx(minutes["volume"].sum())
    assert (drawn["open"][0], drawn["close"][-1]) == (minutes["open"][0], minutes["close"][-1])
    assert ask(api, f"bars/{PATH}", timeframe="1m", max_points=10_000, **span)["meta"]["timeframe"] == "1m"


def test_an_indicator_that_is_no_price_is_drawn_in_a_pane_of_its_own(api):
    span = {"start": START.isoformat(), "end": END.isoformat(), "timeframe": "1h", "volume": False}

    def foot(indicators: str) -> float:
        """How far down candles reach."""
        svg = api.client.get(f"/api/v1/charts/{PATH}.svg", params={**span, "indicators": indicators}).text
        paths = [path.get("d", "") for path in ET.fromstring(svg).iterfind(".//{*}path")]
        return max(float(y) for path in paths if "z" in path for y in re.findall(r"V([\d.]+)", path))

    assert foot("") == foot("sma(2)")  # over the prices, and within them
    assert foot("") > foot("rsi(14)") > foot("rsi(14);macd(12,26,9)")


def test_a_chart_is_drawn_as_svg_and_png(api):
    span = {"start": START.isoformat(), "end": END.isoformat(), "timeframe": "1h"}
    svg = api.client.get(f"/api/v1/charts/{PATH}.svg", params={**span, "indicators": "ema(20)", "theme": "dark"})
    assert (svg.status_code, svg.headers["content-type"]) == (200, "image/svg+xml")
    drawn = ET.fromstring(svg.text)
    shapes = sum(path.get("d", "").count("z") for path in drawn.iterfind(".//{*}path"))
    assert shapes == 2 * DAYS * 24  # bodies and volumes
    assert "ema_20" in svg.text
    png = api.client.get(f"/api/v1/charts/{PATH}.png", params={**span, "kind": "line", "width": 400, "height": 200})
    assert png.content.startswith(b"\x89PNG")
    assert png.content[16:24] == (400).to_bytes(4, "big") + (200).to_bytes(4, "big")
    empty = api.client.get(f"/api/v1/charts/{PATH}.svg", params={"start": "2020-01-01", "end": "2020-01-02"})
    assert "no bars in this range" in empty.text
    assert api.client.get(f"/api/v1/charts/{PATH}.gif").status_code == 422
