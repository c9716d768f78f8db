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

from md_platform.catalog.ledger import PartitionRecord
from md_platform.client import AsyncMarketData, MarketData
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY, Interval
from md_platform.domain.schemas import CLEANED_BARS, CLEANED_TRADES, RAW_BARS, RESAMPLED_BARS
from md_platform.errors import InvalidTimeframe, NeedsServer, NotFound, UnknownInstrument
from md_platform.storage.archive import Days
from md_platform.storage.migrate import migrate
from md_platform.transforms.resampled import resample
from md_platform_tests.api_server import served, stores_of
from md_platform_tests.rows import BTC, DAY0, bar, bar_rows, day_of_bars, trade, trade_rows

ETH = "binance:ETH-USDT"
DAYS = 4
START, END = DAY0, DAY0 + DAYS * DAY
LATER = DAY0 + 60 * DAY


def keep(stores, dataset, instrument, date, frame, *, inputs=(), archived=False):
    """As the chain leaves it: files, ledger, and the archive where that is wanted."""
    stores.lake.write(stores.lake.path(dataset, instrument, date, "binance" if dataset.by_source else None), frame)
    evidence = {"inputs": dict.fromkeys(inputs, "sha")}
    record = PartitionRecord(dataset.name, instrument, date, "ok", frame.height, sha256="sha", evidence=evidence)
    stores.ledger.record([record])
    if archived:
        stores.archive.replace(dataset.name, frame, dataset.time, [Days((instrument,), date, date)], {})


def fill(stores) -> None:
    stores.ledger.register([(Instrument.parse(BTC), "crypto"), (Instrument.parse(ETH), "crypto")])
    for instrument in (BTC, ETH):
        for n in range(DAYS):
            date = (START + n * DAY).date()
            factor = 1.0 if instrument == BTC else 1.0 + n / 10
            bars = day_of_bars(date, instrument=instrument).with_columns(
                pl.col("open", "high", "low", "close") * factor
            )
            keep(stores, CLEANED_BARS, instrument, date, bars, archived=True)
            rolled = resample(bars, Interval.day(date).end)
            keep(stores, RESAMPLED_BARS, instrument, date, rolled, inputs=["cleaned_bars"], archived=True)
    revised = day_of_bars(START.date(), range(60), revision=1, known_at=LATER)
    keep(stores, RAW_BARS, BTC, START.date(), pl.concat([bar_rows([bar(0, 90.0)]), revised]))
    trades = trade_rows(trade(n // 3, str(n), 10.0 + n) for n in range(1_000))
    keep(stores, CLEANED_TRADES, BTC, START.date(), trades, archived=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def server(home, module_database_url, _redis_server_url):
    migrate(module_database_url)
    stores = stores_of(home, module_database_url, _redis_server_url)
    fill(stores)
    with served(stores) as running, MarketData(str(running.client.base_url)) as client:
        yield client


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
    for ask in (files.datasets, lambda: files.quotes(BTC), lambda: files.stream(trades=[BTC])):
        with pytest.raises(NeedsServer):
            ask()
    with pytest.raises(NotFound, match="no lake or archive"):
        MarketData.open(home / "nothing")


def test_other_frames_on_request(server, home):
    url = str(server._source.client.base_url)
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
    for client in (AsyncMarketData(str(server._source.client.base_url)), AsyncMarketData.open(home)):
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
