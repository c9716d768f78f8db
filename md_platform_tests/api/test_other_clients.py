"""What is written for others works on the API as it stands: TradingView's datafeed protocol, and ccxt itself."""

from collections.abc import Iterator
from typing import Any

import ccxt
import pytest

from md_platform.domain.intervals import Timeframe
from md_platform.storage.migrate import migrate
from md_platform_tests.api_server import Served, served, stores_of
from md_platform_tests.client.filled import BTC, DAYS, END, START, fill

HOUR_S = 3_600
START_S, END_S = int(START.timestamp()), int(END.timestamp())
HOURS = [*range(START_S, END_S, HOUR_S)]


@pytest.fixture(scope="module")
def api(tmp_path_factory, module_database_url, module_redis_url) -> Iterator[Served]:
    migrate(module_database_url)
    stores = stores_of(tmp_path_factory.mktemp("api"), module_database_url, module_redis_url)
    fill(stores)
    with served(stores) as running:
        yield running


def ask(api: Served, path: str, **params: Any) -> Any:
    answer = api.client.get(f"/api/v1/udf/{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def scrolled_back(api: Served, ticker: str, to_s: int, screen: int) -> dict[str, list[float]]:
    """Bars of an hour as a chart gets them that is scrolled to its beginning: screen by screen, until there is no more."""
    found: dict[str, list[float]] = {name: [] for name in "tohlcv"}
    while True:
        asked = {"symbol": ticker, "resolution": "60", "from": to_s - screen * HOUR_S, "to": to_s, "countback": screen}
        page = ask(api, "history", **asked)
        if page["s"] == "no_data":
            if "nextTime" not in page:
                return found
            to_s = page["nextTime"] + 1
            continue
        assert page["s"] == "ok"
        found = {name: page[name] + values for name, values in found.items()}
        to_s = page["t"][0]


def test_a_tradingview_chart_is_opened_and_scrolled_to_its_beginning(api):
    config = ask(api, "config")
    assert (config["supports_search"], config["supports_time"]) == (True, True)
    assert "60" in config["supported_resolutions"]
    (found,) = ask(api, "search", query="btc/usdt", type="crypto", exchange="binance", limit=30)
    info = ask(api, "symbols", symbol=found["ticker"])
    assert (info["ticker"], info["session"], info["timezone"]) == (BTC, "24x7", "Etc/UTC")
    assert {"60", "1D"} <= set(info["supported_resolutions"])
    now_s = int(api.client.get("/api/v1/udf/time").text)
    assert now_s > END_S
    bars = scrolled_back(api, info["ticker"], now_s, screen=37)
    assert bars["t"] == HOURS
    assert {len(values) for values in bars.values()} == {DAYS * 24}
    assert all(low <= close <= high for low, close, high in zip(bars["l"], bars["c"], bars["h"], strict=True))


def test_a_chart_is_told_what_there_is_not(api):
    asked = {"symbol": BTC, "resolution": "60"}
    after = ask(api, "history", **asked, to=END_S + 9 * HOUR_S, **{"from": END_S + HOUR_S})
    assert after == {"s": "no_data", "nextTime": END_S - HOUR_S}
    assert ask(api, "history", **asked, to=1_600_000_000, **{"from": 1_500_000_000}) == {"s": "no_data"}
    assert ask(api, "symbols", symbol="NOPE") == {"s": "error", "errmsg": "unknown_symbol"}
    wrong = ask(api, "history", symbol=BTC, resolution="7", to=END_S, **{"from": START_S})
    assert (wrong["s"], "resolution must be one of" in wrong["errmsg"]) == ("error", True)


class Platform(ccxt.Exchange):
    """The API as one of ccxt's exchanges: requests, throttling, parsing and paging are ccxt's own."""

    def describe(self) -> Any:
        return self.deep_extend(
            super().describe(),
            {
                "id": "platform",
                "rateLimit": 1,
                "has": {"fetchOHLCV": True},
                "timeframes": {each.value: each.value for each in Timeframe},
                "urls": {"api": {"public": "set by the test"}},
                "api": {"public": {"get": {"ohlcv/{instrument}": 1}}},
            },
        )

    def sign(self, path, api="public", method="GET", params={}, headers=None, body=None):  # noqa: B006 - as ccxt's
        query = self.omit(params, self.extract_params(path))
        url = f"{self.urls['api'][api]}/{self.implode_params(path, params)}?{self.urlencode(query)}"
        return {"url": url, "method": method, "body": body, "headers": headers}

    def fetch_ohlcv(self, symbol, timeframe="1m", since=None, limit=None, params={}):  # noqa: B006 - as ccxt's
        if self.safe_bool(params, "paginate"):
            rest = self.omit(params, "paginate")
            return self.fetch_paginated_call_deterministic("fetchOHLCV", symbol, since, limit, timeframe, rest, 500)
        request = {"instrument": symbol, "timeframe": timeframe, "limit": limit}
        answer = self.request("ohlcv/{instrument}", "public", "GET", request | ({"since": since} if since else {}))
        return self.parse_ohlcvs(answer, None, timeframe, since, limit)


def test_ccxt_fetches_pages_and_knows_errors(api):
    platform = Platform()
    platform.urls["api"]["public"] = f"{str(api.client.base_url).rstrip('/')}/api/v1"
    since, count = START_S * 1_000, 2_000
    span = {"paginate": True, "until": since + count * 60_000}
    candles = platform.fetch_ohlcv("binance:BTC/USDT", "1m", since, count, span)
    assert [candle[0] for candle in candles] == [since + n * 60_000 for n in range(count)]
    assert all(low <= close <= high for _, _, high, low, close, _ in candles)
    hours = platform.fetch_ohlcv("binance:BTC/USDT", "1h", since, DAYS * 24)
    udf = ask(api, "history", symbol=BTC, resolution="60", to=END_S, **{"from": START_S})
    assert platform.convert_trading_view_to_ohlcv(udf) == hours
    with pytest.raises(ccxt.BaseError, match="unknown-instrument"):
        platform.fetch_ohlcv("binance:NOPE/USDT", "1m", since, 10)
