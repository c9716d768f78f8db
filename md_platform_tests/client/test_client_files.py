"""A server and the files beneath it: the same calls give the same frames; what files cannot do is said."""

import asyncio
import datetime as dt
import subprocess
import sys

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from md_platform.client import AsyncMarketData, MarketData
from md_platform.domain.intervals import DAY
from md_platform.errors import InvalidTimeframe, NeedsServer, NotFound, UnknownInstrument
from md_platform_tests.client.filled import BTC, DAY0, END, ETH, START

CALLS = {
    "bars": lambda md: md.bars(BTC, "1m", START, END),
    "several": lambda md: md.bars([BTC, ETH], "1h", START, END),
    "first": lambda md: md.bars(BTC, "5m", START, limit=7),
    "last": lambda md: md.bars(BTC, "5m", end=END, limit=7),
    "filled": lambda md: md.bars(BTC, "1h", END - 2 * dt.timedelta(hours=1), END + dt.timedelta(hours=2), fill="previous"),
    "daily": lambda md: md.bars([ETH, BTC], "1d", START.date(), END.date()),
    "weekly": lambda md: md.bars(BTC, "1w", START, END),
    "monthly": lambda md: md.bars(BTC, "1M", START - 30 * DAY, END),
    "as_of": lambda md: md.bars(BTC, "1m", START, END, as_of=DAY0 + 30 * DAY),
    "with indicators": lambda md: md.bars(BTC, "1h", START + DAY, END, indicators=["ema(20)", "macd"]),
    "indicators": lambda md: md.indicators([BTC, ETH], ["rsi(14)", "bbands"], "15m", START + DAY, END),
    "custom": lambda md: md.custom(BTC, "(close - sma(20)) / atr(14) > 1", "5m", START + DAY, END),
    "trades": lambda md: md.trades(BTC, START, START + DAY),
    "first trades": lambda md: md.trades(BTC, START, START + DAY, limit=10),
    "last trades": lambda md: md.trades(BTC, end=START + DAY, limit=10),
    "history": lambda md: pl.concat(md.history(BTC, "1m", START, END, rows=1_000)),
    "trade history": lambda md: pl.concat(md.history(BTC, start=START, end=START + DAY, kind="trades", rows=70)),
    "stats": lambda md: md.stats([BTC, ETH], "1h", START, END, benchmark=BTC),
    "correlation": lambda md: md.correlation([BTC, ETH], "1h", START, END),
    "latest": lambda md: md.latest([BTC, ETH]).drop("age_ms"),
    "other names": lambda md: md.bars("binance:BTC/USDT", "1h", START, END),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_server_and_the_files_give_equal_frames(server, home, name):
    expected = CALLS[name](server)
    assert expected.height
    assert_frame_equal(CALLS[name](MarketData.open(home)), expected, check_exact=True)
    assert_frame_equal(CALLS[name](MarketData.open(home / "lake")), expected, check_exact=True)
    if name != "as_of":  # the archive has no earlier revisions
        assert_frame_equal(CALLS[name](MarketData.open(home / "archive")), expected, check_exact=True)


def test_instruments_are_those_that_there_are_files_of(server, home):
    told = ["id", "venue", "universe", "base", "quote", "asset_class", "status"]
    expected = server.instruments().select(told)
    assert expected["id"].to_list() == [BTC, ETH]
    assert_frame_equal(MarketData.open(home).instruments().select(told), expected)
    assert MarketData.open(home / "archive").search("eth")["id"].to_list() == [ETH]


def test_mistakes_are_the_same_errors(server, home):
    for client in (server, MarketData.open(home)):
        with pytest.raises(UnknownInstrument):
            client.bars("binance:NOPE-USDT")
        with pytest.raises(InvalidTimeframe):
            client.bars(BTC, "7m")
    files = MarketData.open(home)
    for ask in (
        files.datasets,
        lambda: files.quotes(BTC),
        lambda: files.bars(BTC, adjusted=True),
        lambda: files.stream(trades=[BTC]),
    ):
        with pytest.raises(NeedsServer):
            ask()
    with pytest.raises(NotFound, match="no lake or archive"):
        MarketData.open(home / "nothing")


def test_other_frames_on_request(server, home):
    url = server._source._server.url
    expected = server.bars(BTC, "1h", START, END)
    for open_ in (lambda as_: MarketData(url, as_=as_), lambda as_: MarketData.open(home, as_=as_)):
        frame = open_("pandas").bars(BTC, "1h", START, END)
        assert isinstance(frame, pd.DataFrame)
        assert pl.from_pandas(frame).equals(expected.with_columns(pl.col("^.*_time$", "known_at")))
        table = open_("arrow").bars(BTC, "1h", START, END)
        assert isinstance(table, pa.Table)
        assert pl.from_arrow(table).equals(expected)
        assert all(isinstance(page, pa.Table) for page in open_("arrow").history(BTC, "1h", START, END, rows=10))


def test_what_is_awaited_is_the_same(server, home):
    async def asked(client):
        async with client:
            bars, stats = await asyncio.gather(
                client.bars([BTC, ETH], "1h", START, END), client.stats(BTC, "1h", START, END)
            )
            return bars, stats, pl.concat([page async for page in client.history(BTC, "1m", START, END, rows=999)])

    expected = (
        server.bars([BTC, ETH], "1h", START, END),
        server.stats(BTC, "1h", START, END),
        server.bars(BTC, "1m", START, END),
    )
    for client in (AsyncMarketData(server._source._server.url), AsyncMarketData.open(home)):
        for found, wanted in zip(asyncio.run(asked(client)), expected, strict=True):
            assert_frame_equal(found, wanted)


def test_both_clients_have_the_same_calls():
    def calls(client: type) -> set[str]:
        return {name for name in dir(client) if not name.startswith("_")}

    assert calls(MarketData) == calls(AsyncMarketData)


def test_importing_the_client_is_quick_and_brings_no_dagster():
    code = (
        "import sys, time; began = time.process_time(); import md_platform.client; took = time.process_time() - began;"
        "heavy = {'dagster', 'great_expectations', 'talib', 'pandas', 'pyarrow', 'psycopg', 'redis'} & set(sys.modules);"
        "assert not heavy, heavy; import md_platform.client.files;"
        "assert not {'dagster', 'great_expectations'} & set(sys.modules); print(took)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(said) < 1.0
