"""History from the sandbox venue in all three protocols: a day of bars and trades, the same market each time."""

import datetime as dt

import polars as pl
import pytest

from md_platform.domain.bars import bars_from_trades
from md_platform.domain.instruments import SymbolMap
from md_platform.domain.intervals import UTC, Interval, Timeframe
from md_platform.errors import SourceRejected
from md_platform.settings import VenueUrls
from md_platform.sources.history import HistorySources
from md_platform_tests.sandbox_server import running_sandbox

NOW = dt.datetime(2026, 11, 18, 9, 30, 20, tzinfo=UTC)
DAY = Interval.day(dt.date(2026, 11, 17))
SYMBOLS = {"sandbox": "BTC-USDT", "sandbox-coinbase": "ETH-USD", "sandbox-kraken": "SOL-USD"}
FOLDERS = {"sandbox": "binance", "sandbox-coinbase": "coinbase", "sandbox-kraken": "kraken"}
VALUES = ("open", "high", "low", "close", "volume")


@pytest.fixture(scope="module")
def address():
    with running_sandbox(start_us=int(NOW.timestamp()) * 1_000_000) as endpoints:
        yield f"http://{endpoints.host}:{endpoints.port}"


@pytest.fixture
def history(address, tmp_path):
    urls = {venue: VenueUrls(rest=f"{address}/{folder}") for venue, folder in FOLDERS.items()}
    return HistorySources(urls, tmp_path / "cache", clock=lambda: NOW)


def instrument(history, venue):
    return SymbolMap(history.instruments(venue)).resolve(f"{venue}:{SYMBOLS[venue]}")


@pytest.mark.parametrize("venue", SYMBOLS)
def test_trades_of_a_day_come_whole(history, venue, tmp_path):
    fetched = history.trades(instrument(history, venue), DAY)
    frame = fetched.frame
    assert fetched.source == venue
    assert frame.height > 1_000
    assert frame["trade_id"].n_unique() == frame.height
    assert frame.null_count().sum_horizontal().item() == 0
    assert frame["ts_event"].is_sorted()
    assert frame["ts_event"].dt.date().unique().to_list() == [DAY.start.date()]
    ids = frame["trade_id"].cast(pl.Int64)
    assert ids.is_sorted()
    assert ids[-1] - ids[0] == frame.height - 1, "ids follow each other: no page lost a trade"
    assert set(frame["taker_side"]) == {"buy", "sell"}
    assert list((tmp_path / "cache").rglob("*")) == []


@pytest.mark.parametrize("venue", ["sandbox", "sandbox-coinbase"])
def test_bars_of_a_day_are_what_its_trades_make(history, venue):
    traded = instrument(history, venue)
    bars = history.bars(traded, DAY).frame.filter(pl.col("volume") > 0)
    made = bars_from_trades(history.trades(traded, DAY).frame.lazy(), Timeframe.M1, NOW).collect()
    assert bars["open_time"].to_list() == made["open_time"].to_list()
    for name in VALUES:
        assert bars[name].to_list() == pytest.approx(made[name].to_list(), rel=1e-9)
    assert bars["is_closed"].all()
    if venue == "sandbox":
        for name in ("quote_volume", "taker_buy_volume", "taker_buy_quote_volume"):
            assert bars[name].to_list() == pytest.approx(made[name].to_list(), rel=1e-6)


def test_kraken_refuses_old_bars_serves_new_ones_and_trades_make_them_all(history):
    traded = instrument(history, "sandbox-kraken")
    with pytest.raises(SourceRejected, match="serves only the last 720 1m bars"):
        history.bars(traded, DAY)
    recent = Interval(dt.datetime(2026, 11, 18, tzinfo=UTC), NOW)
    bars = history.bars(traded, recent).frame
    assert bars["open_time"][0] == recent.start
    assert bars["is_closed"].to_list()[-2:] == [True, False]
    made = bars_from_trades(history.trades(traded, recent).frame.lazy(), Timeframe.M1, NOW).collect()
    both = bars.filter(pl.col("is_closed") & (pl.col("volume") > 0)).join(made, on="open_time", suffix="_made")
    assert both.height > 100
    for name in VALUES:
        assert both[name].to_list() == pytest.approx(both[f"{name}_made"].to_list(), rel=1e-6)


def test_another_address_of_a_real_venue_never_passes_for_it(address, tmp_path):
    history = HistorySources({"binance": VenueUrls(rest=f"{address}/binance")}, tmp_path, clock=lambda: NOW)
    traded = SymbolMap(history.instruments("binance")).resolve("binance:BTC-USDT")
    hour = Interval(DAY.start, DAY.start + dt.timedelta(hours=1))
    fetched = history.bars(traded, hour)
    assert fetched.source == f"binance@{address.removeprefix('http://')}"
    assert set(fetched.frame["source"]) == {fetched.source}
    assert set(fetched.frame["instrument"]) == {"binance:BTC-USDT"}
