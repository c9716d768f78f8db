"""Failover with reasons, sources by their names, downloads that go on where they were killed."""

import datetime as dt
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zipfile

import polars as pl
import pytest

from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Interval
from md_platform.domain.schemas import RAW_BARS, RAW_TRADES
from md_platform.errors import (
    MalformedPayload,
    RateLimited,
    SourceError,
    SourceRejected,
    SourceUnavailable,
    StorageError,
    UnknownInstrument,
    UnknownVenue,
)
from md_platform.settings import VenueUrls
from md_platform.sources.history import HistorySources
from md_platform.sources.spool import PageSpool
from md_platform.venues.spec import Page, Request
from md_platform_tests.local_server import Answer

BTC = Instrument("binance", "BTC", "USDT", "BTCUSDT")
DATE = dt.date(2024, 1, 2)
DAY = Interval.day(DATE)
START_MS = int(DAY.start.timestamp() * 1_000)
CLOSED = dt.datetime(2024, 1, 5, tzinfo=dt.UTC)


def kline(minute):
    opened = START_MS + 60_000 * minute
    return [opened, "1", "2", "0.5", "1.5", "10", opened + 59_999, "15", 3, "5", "7", "0"]


def agg(n, ms):
    return {"a": n, "p": "1.5", "q": "2", "f": n, "l": n, "T": ms, "m": False, "M": True}


def binance(trades=(), minutes=1_440, page=1_000, symbols=("BTCUSDT",)):
    def answer(asked):
        params = asked.params
        if asked.path == "/api/v3/exchangeInfo":
            named = [{"symbol": s, "baseAsset": s[:-4], "quoteAsset": s[-4:]} for s in symbols]
            return Answer(json.dumps({"symbols": named}).encode())
        if asked.path == "/api/v3/klines":
            rows = [kline(n) for n in range(minutes)]
            rows = [row for row in rows if int(params["startTime"]) <= row[0] <= int(params["endTime"])]
            return Answer(json.dumps(rows[:page]).encode())
        if "fromId" in params:
            rows = [t for t in trades if t["a"] >= int(params["fromId"])]
        else:
            rows = [t for t in trades if int(params["startTime"]) <= t["T"] <= int(params["endTime"])]
        return Answer(json.dumps(rows[:page]).encode())

    return answer


def sources(tmp_path, impatient, urls, now=CLOSED):
    return HistorySources(urls, tmp_path / "cache", clock=lambda: now, retry=impatient)


def bulk_folder(tmp_path, rows):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("BTCUSDT-1m-2024-01-02.csv", "\n".join(",".join(map(str, row)) for row in rows))
    folder = tmp_path / "bulk"
    folder.mkdir()
    (folder / "BTCUSDT-1m-2024-01-02.zip").write_bytes(content.getvalue())
    return folder


def test_bars_of_a_day_come_with_what_they_cost(serve, tmp_path, impatient):
    server = serve(binance())
    fetched = sources(tmp_path, impatient, {"binance": VenueUrls(rest=server.url)}).bars(BTC, DAY)
    assert fetched.frame.height == 1_440
    assert fetched.frame.schema == RAW_BARS.schema
    assert fetched.requests == len(server.asked) == 2
    assert fetched.bytes > 100_000
    assert [(a.source, a.error) for a in fetched.attempts] == [(fetched.source, None)]


def test_another_address_is_stamped_and_a_sandbox_is_itself(serve, tmp_path, impatient):
    server = serve(binance())
    host = server.url.removeprefix("http://")
    urls = {"binance": VenueUrls(rest=server.url), "sandbox": VenueUrls(rest=server.url)}
    history = sources(tmp_path, impatient, urls)
    assert set(history.bars(BTC, DAY).frame["source"]) == {f"binance@{host}"}
    fetched = history.bars(Instrument("sandbox", "BTC", "USDT", "BTCUSDT"), DAY)
    assert fetched.source == "sandbox"
    assert set(fetched.frame["instrument"]) == {"sandbox:BTC-USDT"}


def test_a_bar_that_still_runs_is_not_closed(serve, tmp_path, impatient):
    server = serve(binance(minutes=11))
    now = DAY.start + dt.timedelta(minutes=10, seconds=30)
    fetched = sources(tmp_path, impatient, {"binance": VenueUrls(rest=server.url)}, now).bars(BTC, DAY)
    assert fetched.frame["is_closed"].to_list() == [True] * 10 + [False]
    assert set(fetched.frame["known_at"]) == {now}


def test_bulk_files_come_first_for_closed_days(serve, tmp_path, impatient):
    server = serve(binance())
    folder = bulk_folder(tmp_path, [kline(n) for n in range(1_440)])
    urls = {"binance": VenueUrls(rest=server.url, bulk=str(folder))}
    fetched = sources(tmp_path, impatient, urls).bars(BTC, DAY)
    assert (fetched.source, fetched.frame.height, fetched.requests) == ("binance-bulk", 1_440, 0)
    running = sources(tmp_path, impatient, urls, DAY.end - dt.timedelta(hours=1)).bars(BTC, DAY)
    assert running.source.startswith("binance@")


def test_the_next_source_serves_and_the_reason_is_told(serve, tmp_path, impatient):
    server = serve(binance())
    folder = bulk_folder(tmp_path, [])
    (folder / "BTCUSDT-1m-2024-01-02.zip").write_bytes(b"PK not a zip")
    urls = {"binance": VenueUrls(rest=server.url, bulk=str(folder))}
    history = sources(tmp_path, impatient, urls)
    fetched = history.bars(BTC, DAY)
    bulk, rest = fetched.attempts
    assert bulk.source == "binance-bulk"
    assert "not a whole zip archive" in bulk.error
    assert (rest.source, rest.error) == (fetched.source, None)
    missing = history.bars(BTC, Interval.day(dt.date(2024, 1, 3)))
    assert "no file of BTCUSDT for 2024-01-03" in missing.attempts[0].error


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(b"{}", 503), SourceUnavailable),
        (Answer(b"<html>"), MalformedPayload),
        (Answer(b'{"code":-1121,"msg":"Invalid symbol."}', 400), SourceRejected),
        (Answer(b"{}", 429, {"Retry-After": "9999"}), RateLimited),
    ],
)
def test_when_all_fail_the_last_error_tells_every_reason(serve, tmp_path, impatient, answer, error):
    server = serve(lambda _: answer)
    urls = {"binance": VenueUrls(rest=server.url, bulk=str(tmp_path))}
    with pytest.raises(error, match=r"binance-bulk has no file of BTCUSDT for 2024-01-02; binance@127") as caught:
        sources(tmp_path, impatient, urls).bars(BTC, DAY)
    assert caught.value.retryable == error.retryable
    if error is RateLimited:
        assert caught.value.retry_after_s == 9_999


def test_kraken_says_how_far_its_bars_go_back(tmp_path, impatient):
    history = sources(tmp_path, impatient, {"kraken": VenueUrls(rest="http://127.0.0.1:9")})
    with pytest.raises(SourceRejected, match="kraken serves only the last 720 1m bars, 2024-01-02 is older"):
        history.bars(Instrument("kraken", "BTC", "USD", "XXBTZUSD"), DAY)


def test_an_instrument_without_its_native_name_is_looked_up_and_never_guessed(serve, tmp_path, impatient):
    server = serve(binance(symbols=("BTCUSDT", "ETHUSDT")))
    history = sources(tmp_path, impatient, {"binance": VenueUrls(rest=server.url)})
    assert history.bars(Instrument.parse("binance:ETH-USDT"), DAY).frame.height == 1_440
    assert server.asked[1].params["symbol"] == "ETHUSDT"
    with pytest.raises(UnknownInstrument, match="XMR-USDT"):
        history.trades(Instrument.parse("binance:XMR-USDT"), DAY)


def test_instruments_that_no_id_can_name_are_left_out(serve, tmp_path, impatient):
    server = serve(binance(symbols=("BTCUSDT", "币安USDT")))
    history = sources(tmp_path, impatient, {"binance": VenueUrls(rest=server.url)})
    assert history.instruments("binance") == [BTC]
    assert history.instruments("file") == []


def test_a_venue_that_nobody_knows_is_an_error(tmp_path, impatient):
    with pytest.raises(UnknownVenue, match="was 'mtgox'; nor does ccxt know it"):
        sources(tmp_path, impatient, {}).instruments("mtgox")
    with pytest.raises(SourceRejected, match="file serves nothing over the network"):
        sources(tmp_path, impatient, {}).bars(Instrument("file", "A", "B", "AB"), DAY)


def test_trades_of_two_days_come_whole_and_leave_no_spool(serve, tmp_path, impatient):
    trades = [agg(n, START_MS - 5_000 + n * 60_000) for n in range(3_000)]
    server = serve(binance(trades, page=700))
    history = sources(tmp_path, impatient, {"binance": VenueUrls(rest=server.url)})
    interval = Interval(DAY.start, DAY.end + dt.timedelta(hours=6))
    fetched = history.trades(BTC, interval)
    assert fetched.frame.schema == RAW_TRADES.schema
    assert fetched.frame["trade_id"].to_list() == [str(n) for n in range(1, 1_801)]
    assert list((tmp_path / "cache").rglob("*")) == []


def test_a_row_that_the_venue_gives_twice_is_kept_for_the_rules_to_find(serve, tmp_path, impatient):
    trades = [agg(n, START_MS + n) for n in (1, 2, 2, 3)]
    server = serve(binance(trades))
    fetched = sources(tmp_path, impatient, {"binance": VenueUrls(rest=server.url)}).trades(BTC, DAY)
    assert fetched.frame["trade_id"].to_list() == ["1", "2", "2", "3"]


def test_a_failed_download_goes_on_from_the_pages_already_here(serve, tmp_path, impatient):
    trades = [*(agg(n, START_MS + n * 1_000) for n in range(1, 5_000)), agg(5_000, START_MS + 86_400_000)]
    good, broken = binance(trades, page=1_000), threading.Event()
    server = serve(
        lambda asked: (
            Answer(b"{}", 503) if asked.params.get("fromId") == "3001" and not broken.is_set() else good(asked)
        )
    )
    history = sources(tmp_path, impatient, {"binance": VenueUrls(rest=server.url)})
    with pytest.raises(SourceUnavailable):
        history.trades(BTC, DAY)
    asked_before = len(server.asked)
    broken.set()
    fetched = history.trades(BTC, DAY)
    assert fetched.frame.height == 4_999
    assert fetched.requests == len(server.asked) - asked_before == 2
    assert server.asked[asked_before].params["fromId"] == "3001"


def test_a_day_that_still_runs_is_never_taken_from_the_spool(serve, tmp_path, impatient):
    trades = [agg(n, START_MS + n * 1_000) for n in range(1, 10)]
    server = serve(binance(trades))
    history = sources(tmp_path, impatient, {"binance": VenueUrls(rest=server.url)}, DAY.start + dt.timedelta(minutes=1))
    assert history.trades(BTC, DAY).frame.height == 9
    trades.append(agg(10, START_MS + 11_000))
    assert history.trades(BTC, DAY).frame.height == 10


def test_a_killed_process_leaves_pages_that_the_next_one_uses(serve, tmp_path, impatient):
    trades = [agg(n, START_MS + n * 1_000) for n in range(1, 4_000)]
    answered, reached = binance(trades, page=500), threading.Event()

    def answer(asked):
        if asked.params.get("fromId") == "2001" and not reached.is_set():
            reached.set()
            time.sleep(20)
        return answered(asked)

    server = serve(answer)
    script = textwrap.dedent(f"""
        import datetime as dt, pathlib
        from md_platform.domain.instruments import Instrument
        from md_platform.domain.intervals import Interval
        from md_platform.settings import VenueUrls
        from md_platform.sources.history import HistorySources
        urls = {{"binance": VenueUrls(rest={server.url!r})}}
        history = HistorySources(urls, pathlib.Path({str(tmp_path / "cache")!r}))
        history.trades(Instrument("binance", "BTC", "USDT", "BTCUSDT"), Interval.day(dt.date(2024, 1, 2)))
    """)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script], env=environ) as process:
        assert reached.wait(60)
        process.send_signal(signal.SIGKILL)
    asked_before = len(server.asked)
    fetched = sources(tmp_path, impatient, {"binance": VenueUrls(rest=server.url)}).trades(BTC, DAY)
    assert fetched.frame["trade_id"].to_list() == [str(n) for n in range(1, 4_000)]
    assert server.asked[asked_before].params["fromId"] == "2001"
    assert list((tmp_path / "cache").rglob("*")) == []


def page_of(n):
    return Page(pl.DataFrame({"n": [n]}), Request("/trades", {"since": n}))


def test_a_spoiled_page_ends_what_is_reused(tmp_path):
    spool = PageSpool.of(tmp_path, "binance@1:2", "BTC/USDT", "2024-01-02")
    assert spool.folder == tmp_path / "binance@1:2" / "BTC_USDT" / "2024-01-02"
    for n in range(4):
        spool.add(n, page_of(n))
    assert [page.following.params["since"] for page in spool.pages()] == [0, 1, 2, 3]
    (spool.folder / "000002.parquet").write_bytes(b"torn")
    assert [page.frame["n"][0] for page in spool.pages()] == [0, 1]
    more = itertools.count(2)
    resumed = spool.resumed(lambda last: iter([page_of(next(more)), Page(last.frame)]))
    assert [page.frame["n"][0] for page in resumed] == [0, 1, 2, 1]
    assert [page.frame["n"][0] for page in spool.resumed(lambda _: iter(()))] == [0, 1, 2, 1]
    spool.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_spool_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be kept"):
        PageSpool(tmp_path / "file" / "folder").add(0, page_of(0))


def test_what_has_not_begun_is_empty_and_not_asked_for(serve, tmp_path, impatient):
    server = serve(binance())
    history = sources(tmp_path, impatient, {"binance": VenueUrls(rest=server.url)}, DAY.start - dt.timedelta(hours=1))
    assert history.bars(BTC, DAY).frame.schema == RAW_BARS.schema
    assert history.trades(BTC, DAY).frame.schema == RAW_TRADES.schema
    assert server.asked == []


def test_a_venue_that_is_live_only_has_its_history_from_ccxt(tmp_path, impatient):
    found = sources(tmp_path, impatient, {"gemini": VenueUrls(rest="http://127.0.0.1:9")})
    with pytest.raises(SourceError, match=r"ccxt-gemini@127\.0\.0\.1:9"):
        found.bars(Instrument("gemini", "BTC", "USD", "btcusd"), DAY)
