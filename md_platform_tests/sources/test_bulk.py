"""Binance's published files: known rows and units, from a folder or over HTTP, resumed, verified, refused."""

import datetime as dt
import hashlib
import io
import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import UTC, Interval, epoch_unit
from md_platform.domain.schemas import RAW_BARS, RAW_TRADES
from md_platform.errors import InvalidFile, SourceRejected, SourceUnavailable
from md_platform.sources.bulk import BulkFile, BulkSource, folder_of
from md_platform.sources.download import Downloader
from md_platform.sources.fetch import Meter
from md_platform.venues.frames import epoch
from md_platform_tests.local_server import Answer

BTC = Instrument("binance", "BTC", "USDT", "BTCUSDT")
DATE = dt.date(2024, 1, 30)
DAY = Interval.day(DATE)
DAY_MS = epoch(DAY.start, "ms")


def zipped(name, lines):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, "\n".join(lines))
    return content.getvalue()


def klines(minutes, start=DAY_MS, scale=1):
    times = [(start + 60_000 * m) * scale for m in minutes]
    return [f"{t},1.5,2,1,1.25,10,{t + 59_999 * scale},12,3,4,5,0" for t in times]


def source(tmp_path, root, impatient, now=dt.datetime(2026, 1, 1, tzinfo=UTC)):
    return BulkSource("binance-bulk", str(root), tmp_path / "cache", clock=lambda: now, retry=impatient)


def serve_files(serve, files, *, ranges=True):
    """A file server as the venue's: 404 for what is not there, Range answered."""

    def answer(asked):
        content = files.get(asked.path.removeprefix("/"))
        if content is None:
            return Answer(b"", 404)
        if callable(content):
            return content(asked)
        return ranged(asked, content) if ranges else Answer(content)

    return serve(answer)


def ranged(asked, content, cut_at=None):
    wanted = asked.headers.get("range")
    if wanted is None:
        return Answer(content, cut_at=cut_at)
    first = int(wanted.removeprefix("bytes=").removesuffix("-"))
    if first >= len(content):
        return Answer(b"", 416)
    return Answer(content[first:], 206, cut_at=cut_at)


def published(files, name, content):
    return {**files, name: content, f"{name}.CHECKSUM": f"{hashlib.sha256(content).hexdigest()}  {name}".encode()}


def test_files_are_where_the_venue_publishes_them():
    tree = "data/spot"
    assert BulkFile("klines", "BTCUSDT", "2018-02-08").path == (
        f"{tree}/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2018-02-08.zip"
    )
    assert BulkFile("klines", "BTCUSDT", "2018-02").path == f"{tree}/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2018-02.zip"
    assert BulkFile("aggTrades", "BTCUSDT", "2018-02-08").path == (
        f"{tree}/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2018-02-08.zip"
    )
    assert BulkFile("trades", "BTCUSDT", "2018-02").path == f"{tree}/monthly/trades/BTCUSDT/BTCUSDT-trades-2018-02.zip"


def test_real_files_have_the_rows_and_gaps_that_were_counted(shared_data, tmp_path, impatient):
    expected = json.loads((shared_data / "expected/binance_btcusdt_1m/summary.json").read_text())["days"]
    files = source(tmp_path, shared_data / "datasets/binance_btcusdt_1m", impatient)
    for day in expected:
        interval = Interval.day(dt.date.fromisoformat(day["day"]))
        frame = files.bars(BTC, interval, Meter())
        assert frame.schema == RAW_BARS.schema
        assert frame.height == day["rows"]
        assert 1_440 - frame["open_time"].n_unique() == day["missing_minutes"]
        assert frame.filter(frame["volume"] == 0).height == day["zero_volume_rows"]
        assert (frame["close_time"] - frame["open_time"]).unique().to_list() == [dt.timedelta(minutes=1)]
        assert frame["open_time"].dt.date().unique().to_list() == [interval.start.date()]
        assert set(frame["source"]) == {"binance-bulk"}


def test_real_days_on_both_sides_of_the_switch_of_units_join(shared_data, tmp_path, impatient):
    files = source(tmp_path, shared_data / "datasets/binance_btcusdt_1m", impatient)
    interval = Interval(dt.datetime(2024, 12, 31, 23, 58, tzinfo=UTC), dt.datetime(2025, 1, 1, 0, 2, tzinfo=UTC))
    frame = files.bars(BTC, interval, Meter())
    assert frame["open_time"].to_list() == [interval.start + dt.timedelta(minutes=n) for n in range(4)]
    assert frame["open"][2] == 93576.0


@given(
    moment=st.datetimes(min_value=dt.datetime(1990, 1, 1), max_value=dt.datetime(2099, 12, 31)),  # noqa: DTZ001
    unit=st.sampled_from(["s", "ms", "us", "ns"]),
)
def test_the_unit_of_any_time_is_told_by_its_magnitude(moment, unit):
    assert epoch_unit(epoch(moment.replace(tzinfo=UTC), unit)) == unit


def test_a_tree_in_a_folder_serves_as_files_side_by_side_do(tmp_path, impatient):
    name = BulkFile("klines", "BTCUSDT", "2024-01-30").path
    target = tmp_path / "mirror" / name
    target.parent.mkdir(parents=True)
    target.write_bytes(zipped("x.csv", klines(range(1_440))))
    for root in (tmp_path / "mirror", (tmp_path / "mirror").as_uri(), tmp_path / "mirror" / "data"):
        assert source(tmp_path, root, impatient).bars(BTC, DAY, Meter()).height == 1_440
    assert folder_of("https://data.binance.vision") is None


def test_a_month_serves_its_days_and_is_fetched_once(serve, tmp_path, impatient):
    name = BulkFile("klines", "BTCUSDT", "2024-01").path
    content = zipped("x.csv", klines(range(-1_440, 2_880)))
    server = serve_files(serve, published({}, name, content))
    files, meter = source(tmp_path, server.url, impatient), Meter()
    assert files.bars(BTC, DAY, meter).height == 1_440
    assert files.bars(BTC, Interval.day(dt.date(2024, 1, 31)), meter).height == 1_440
    assert sum(asked.path == f"/{name}" for asked in server.asked) == 1
    assert meter.requests == len(server.asked)
    month = Interval(dt.datetime(2024, 1, 1, tzinfo=UTC), dt.datetime(2024, 2, 1, tzinfo=UTC))
    before = len(server.asked)
    assert files.bars(BTC, month, meter).height == 4_320
    assert not any("daily" in asked.path for asked in server.asked[before:])


def test_daily_files_leave_nothing_behind(serve, tmp_path, impatient):
    name = BulkFile("klines", "BTCUSDT", "2024-01-30").path
    server = serve_files(serve, published({}, name, zipped("x.csv", klines(range(1_440)))))
    assert source(tmp_path, server.url, impatient).bars(BTC, DAY, Meter()).height == 1_440
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_broken_download_goes_on_where_it_stopped(serve, tmp_path, impatient):
    name = BulkFile("klines", "BTCUSDT", "2024-01-30").path
    content = zipped("x.csv", klines(range(1_440)))
    cuts = iter([1_000, 5_000])
    files = published({}, name, content)
    files[name] = lambda asked: ranged(asked, content, next(cuts, None))
    server = serve_files(serve, files)
    assert source(tmp_path, server.url, impatient).bars(BTC, DAY, Meter()).height == 1_440
    ranges = [asked.headers.get("range") for asked in server.asked if asked.path == f"/{name}"]
    assert ranges == [None, "bytes=1000-", "bytes=6000-"]


def test_a_server_without_ranges_is_asked_for_the_whole_again(serve, tmp_path, impatient):
    content = b"0123456789"
    server = serve_files(serve, published({}, "file", content), ranges=False)
    target = tmp_path / "file"
    target.with_name("file.part").write_bytes(b"0123")
    assert Downloader("bulk", server.url, impatient).verified("file", target, Meter()).read_bytes() == content


def test_a_part_longer_than_the_file_is_begun_anew(serve, tmp_path, impatient):
    server = serve_files(serve, published({}, "file", b"0123456789"))
    target = tmp_path / "file"
    target.with_name("file.part").write_bytes(b"x" * 50)
    assert Downloader("bulk", server.url, impatient).verified("file", target, Meter()).read_bytes() == b"0123456789"


def test_a_spoiled_part_is_noticed_by_its_checksum_and_fetched_again(serve, tmp_path, impatient):
    server = serve_files(serve, published({}, "file", b"0123456789"))
    target = tmp_path / "file"
    target.with_name("file.part").write_bytes(b"xxxx")
    assert Downloader("bulk", server.url, impatient).verified("file", target, Meter()).read_bytes() == b"0123456789"


def test_a_file_that_never_meets_its_checksum_is_refused(serve, tmp_path, impatient):
    server = serve_files(serve, {"file": b"spoiled", "file.CHECKSUM": b"0" * 64 + b"  file"})
    with pytest.raises(InvalidFile, match=f"file has SHA-256 .*, its CHECKSUM file says {'0' * 64}"):
        Downloader("bulk", server.url, impatient).verified("file", tmp_path / "file", Meter())
    assert not (tmp_path / "file").exists()


def test_a_checksum_file_without_a_checksum_is_refused(serve, tmp_path, impatient):
    server = serve_files(serve, {"file": b"x", "file.CHECKSUM": b"hello"})
    with pytest.raises(InvalidFile, match="must hold a SHA-256"):
        Downloader("bulk", server.url, impatient).verified("file", tmp_path / "file", Meter())


def test_a_file_server_in_trouble_is_unavailable(serve, tmp_path, impatient):
    server = serve(lambda _: Answer(b"", 503))
    with pytest.raises(SourceUnavailable, match="503"):
        source(tmp_path, server.url, impatient).bars(BTC, DAY, Meter())
    troubled = serve(lambda asked: Answer(b"x", 503 if asked.path.endswith("CHECKSUM") else 200))
    with pytest.raises(SourceUnavailable, match="503"):
        source(tmp_path, troubled.url, impatient).bars(BTC, DAY, Meter())


def test_a_local_file_is_compared_with_the_checksum_beside_it(tmp_path, impatient):
    name = BulkFile("klines", "BTCUSDT", "2024-01-30").name
    content = zipped("x.csv", klines(range(3)))
    (tmp_path / name).write_bytes(content)
    (tmp_path / f"{name}.CHECKSUM").write_text(f"{hashlib.sha256(content).hexdigest()}  {name}")
    assert source(tmp_path, tmp_path, impatient).bars(BTC, DAY, Meter()).height == 3
    (tmp_path / f"{name}.CHECKSUM").write_text(f"{'f' * 64}  {name}")
    with pytest.raises(InvalidFile, match="its CHECKSUM file says ffff"):
        source(tmp_path, tmp_path, impatient).bars(BTC, DAY, Meter())


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1,2,3"], "must have 12 columns"),
        ([*klines([1]), *klines([2], scale=1_000)], "times of one unit, has ms and us"),
        (klines([1], start=5, scale=0), "epoch must lie between"),
        ([",".join(["x1"] * 12)], "has none"),
        ([""], "cannot be read as csv"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path, impatient, lines, message):
    (tmp_path / "BTCUSDT-1m-2024-01-30.zip").write_bytes(zipped("x.csv", lines))
    with pytest.raises(InvalidFile, match=message):
        source(tmp_path, tmp_path, impatient).bars(BTC, DAY, Meter())


def test_a_corrupt_download_is_not_kept(serve, tmp_path, impatient):
    name = BulkFile("klines", "BTCUSDT", "2024-01-30").path
    server = serve_files(serve, {name: b"PK spoiled"})
    for _ in range(2):
        with pytest.raises(InvalidFile, match="not a whole zip archive"):
            source(tmp_path, server.url, impatient).bars(BTC, DAY, Meter())
    assert sum(asked.path == f"/{name}" for asked in server.asked) == 2


def test_a_header_is_passed_over_and_a_spoiled_row_is_kept(tmp_path, impatient):
    header = (
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote,ignore"
    )
    lines = [header, *klines([0]), klines([1])[0].replace(",1.5,", ",n/a,"), klines([2])[0].replace("17", "x7", 1)]
    (tmp_path / "BTCUSDT-1m-2024-01-30.zip").write_bytes(zipped("x.csv", lines))
    frame = source(tmp_path, tmp_path, impatient).bars(BTC, DAY, Meter())
    assert frame["open"].to_list() == [1.5, None, 1.5]
    assert frame["open_time"].null_count() == 1


def test_trades_are_read_aggregated_or_else_single(tmp_path, impatient):
    aggregated = [f"7,1.5,2,10,12,{DAY_MS + 5},True,True", f"8,1.6,1,13,13,{DAY_MS + 6},False,True"]
    single = [f"{n},1.5,2,3,{DAY_MS + n},False,True" for n in range(5)]
    (tmp_path / "BTCUSDT-trades-2024-01-30.zip").write_bytes(zipped("x.csv", single))
    files = source(tmp_path, tmp_path, impatient)
    found = files.trades(BTC, DAY, Meter())
    assert found.schema == RAW_TRADES.schema
    assert (found.height, set(found["taker_side"]), set(found["trade_count"])) == (5, {"buy"}, {1})
    (tmp_path / "BTCUSDT-aggTrades-2024-01-30.zip").write_bytes(zipped("x.csv", aggregated))
    found = files.trades(BTC, DAY, Meter())
    assert found["trade_id"].to_list() == ["7", "8"]
    assert found["taker_side"].to_list() == ["sell", "buy"]
    assert found["trade_count"].to_list() == [3, 1]


def test_files_list_no_instruments(tmp_path, impatient):
    with pytest.raises(SourceRejected, match="lists no instruments"):
        source(tmp_path, tmp_path, impatient).instruments(Meter())
