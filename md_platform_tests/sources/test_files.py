"""Imported files: what they are understood to hold, their rows, and clear words where they cannot be imported."""

import datetime as dt
import gzip
import io
import json
import zipfile

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from md_platform.domain.bars import bars_from_trades
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import UTC, Timeframe
from md_platform.domain.schemas import RAW_BARS, RAW_TRADES
from md_platform.errors import InvalidFile, MdpError, UnknownInstrument
from md_platform.sources.file_times import read_times
from md_platform.sources.files import SOURCE, read, understand

BTC = Instrument("binance", "BTC", "USDT", "BTCUSDT")
XRP = Instrument.parse("file:XRP-ETH")
T0 = 1_700_000_040_000
HEADER = "timestamp,open,high,low,close,volume"


def bars_text(header=HEADER, rows=5, start=T0, step=60_000):
    lines = [f"{start + n * step},1.5,2,1,1.25,{n}" for n in range(rows)]
    return "\n".join([header, *lines] if header else lines)


@pytest.fixture
def file(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_every_real_kline_file_is_understood(shared_data, now):
    folder = shared_data / "datasets/binance_btcusdt_1m"
    expected = json.loads((shared_data / "expected/binance_btcusdt_1m/summary.json").read_text())["days"]
    for day in expected:
        plan = understand(folder / f"BTCUSDT-1m-{day['day']}.zip", BTC, now=now)
        assert (plan.kind, plan.rows, plan.unreadable) == ("bars", day["rows"], 0)
        assert plan.time_units == (day["timestamp_unit"],)
        assert plan.days == (dt.date.fromisoformat(day["day"]),)
        assert plan.warnings == ()


def test_a_folder_of_both_units_is_one_import(shared_data, now):
    plan = understand(shared_data / "datasets/binance_btcusdt_1m", BTC, now=now)
    assert (plan.rows, set(plan.time_units), len(plan.days)) == (50_900, {"ms", "us"}, 37)
    frame = read(plan, BTC, now)
    assert frame.schema == RAW_BARS.schema
    assert frame.height == 50_900
    assert frame["open_time"].n_unique() == 50_900
    assert set(frame["source"]) == {SOURCE}
    assert set(frame["known_at"]) == {now}
    assert frame["is_closed"].all()
    assert frame["taker_buy_volume"].null_count() == 0


@pytest.mark.parametrize("name", ["XRP_ETH-trades.json.gz", "XRP_ETH-trades.parquet", "XRP_OLD-trades.json.gz"])
def test_the_same_real_trades_in_three_formats_make_the_same_bars(shared_data, now, name):
    folder = shared_data / "datasets/freqtrade"
    plan = understand(folder / name, XRP, now=now)
    assert (plan.kind, plan.rows, plan.unreadable, plan.warnings) == ("trades", 12_477, 0, ())
    trades = read(plan, XRP, now)
    assert trades.schema == RAW_TRADES.schema
    assert trades.row(0, named=True) == {
        "instrument": "file:XRP-ETH",
        "ts_event": dt.datetime(2019, 10, 11, 0, 0, 11, 620_000, tzinfo=UTC),
        "ts_received": now,
        "trade_id": "13519807",
        "price": 0.00141342,
        "size": 23.0,
        "taker_side": "sell",
        "trade_count": 1,
        "source": "import",
    }
    bars = bars_from_trades(trades.lazy(), Timeframe.M1, now).collect()
    candles = understand(folder / "XRP_ETH-1m.feather", XRP, now=now)
    expected = read(candles, XRP, now)
    assert bars["open_time"].to_list() == expected["open_time"].to_list()
    for column in ("open", "high", "low", "close", "volume"):
        assert bars[column].to_list() == pytest.approx(expected[column].to_list(), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "rows", "unit"),
    [
        ("freqtrade/UNITTEST_BTC-1m.feather", 13_681, "iso"),
        ("freqtrade/UNITTEST_BTC-1m.json.gz", 13_681, "ms"),
        ("nautilus/ADABTC-1m-2021-11-27.csv.gz", 10, "ms"),
        ("nautilus/xcme/6EH4.XCME_1min_bars_20240101_20240131.csv.gz", 29_996, "iso"),
    ],
)
def test_other_real_bars_are_understood(shared_data, now, name, rows, unit):
    plan = understand(shared_data / "datasets" / name, XRP, now=now)
    assert (plan.kind, plan.rows, plan.time_units) == ("bars", rows, (unit,))
    assert read(plan, XRP, now).height == rows


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("freqtrade/XRP_ETH-5m.feather", "holds 5m bars: only 1m bars are imported"),
        ("backtesting_py/EURUSD.csv", "holds 1h bars"),
        ("backtesting_py/GOOG.csv", "holds 1d bars"),
        ("nautilus/fxcm/usdjpy-m1-bid-2013.csv.gz", "bars need .* volume .*found: timestamp open high low close"),
        ("nautilus/truefx/usdjpy-ticks.csv.gz", "trades need price, .*found: timestamp bid ask"),
    ],
)
def test_real_files_that_hold_something_else_are_refused_with_the_reason(shared_data, now, name, message):
    with pytest.raises(InvalidFile, match=message):
        understand(shared_data / "datasets" / name, XRP, now=now)


def test_a_plan_tells_what_was_understood(file, now):
    plan = understand(file("bars.csv", bars_text()), BTC, now=now)
    assert plan.instrument == "binance:BTC-USDT"
    assert (plan.first, plan.last) == (
        dt.datetime(2023, 11, 14, 22, 14, tzinfo=UTC),
        dt.datetime(2023, 11, 14, 22, 18, tzinfo=UTC),
    )
    part = plan.parts[0]
    assert (part.format, part.delimiter, part.has_header, part.time_unit, part.rows) == ("csv", ",", True, "ms", 5)
    assert part.columns == {n: n if n != "time" else "timestamp" for n in ("time", *HEADER.split(",")[1:])}
    assert len(plan.sample) == 5
    assert plan.sample[1]["volume"] == 1.0


@pytest.mark.parametrize(
    "text",
    [
        bars_text().replace(",", ";"),
        bars_text().replace(",", "\t"),
        bars_text().replace(",", "|"),
        bars_text(header=None),
        "\ufeff" + bars_text(),
        bars_text().replace("\n", "\r\n") + "\r\n\r\n",
        bars_text("Unix Timestamp;Open;High;Low;Close;Volume BTC".replace(" BTC", ""))
        .replace(",", ";")
        .replace(".", ","),
        bars_text(",Open,High,Low,Close,Volume"),
        bars_text('"Date","1. open","2. high","3. low","4. close","5. volume"'),
        "\n".join(line + ",,extra" for line in bars_text(HEADER + ",a,b").splitlines()[1:]).join(
            [HEADER + ",a,b\n", ""]
        ),
    ],
)
def test_one_table_in_many_dresses(file, now, text):
    path = file("bars.txt", text)
    frame = read(understand(path, BTC, now=now), BTC, now)
    assert frame["volume"].to_list() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert frame["open"].to_list() == [1.5] * 5
    assert frame["open_time"][0] == dt.datetime(2023, 11, 14, 22, 14, tzinfo=UTC)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_epochs_in_any_unit_are_told_by_magnitude(file, now, unit):
    scale = {"s": 0.001, "ms": 1, "us": 1_000, "ns": 1_000_000}[unit]
    text = bars_text(start=int(T0 * scale), step=int(60_000 * scale))
    plan = understand(file("bars.csv", text), BTC, now=now)
    assert plan.time_units == (unit,)
    assert plan.first == dt.datetime(2023, 11, 14, 22, 14, tzinfo=UTC)


def test_iso_times_with_and_without_a_zone(file, now):
    times = [
        "2024-01-02T03:04:00Z",
        "2024-01-02 03:05:00+00:00",
        "2024-01-02T08:36:00+05:30",
        "2024-01-02 03:07:00.000 UTC",
    ]
    text = "\n".join([HEADER, *(f"{time},1,1,1,1,1" for time in times)])
    plan = understand(file("a.csv", text), BTC, now=now)
    assert (plan.first, plan.last) == (
        dt.datetime(2024, 1, 2, 3, 4, tzinfo=UTC),
        dt.datetime(2024, 1, 2, 3, 7, tzinfo=UTC),
    )
    assert plan.warnings == ()
    plan = understand(file("b.csv", f"{HEADER}\n2024-01-02 03:04,1,1,1,1,1\n20240102 030500,1,1,1,1,1"), BTC, now=now)
    assert plan.warnings == ("times of column 'timestamp' name no time zone: taken as UTC",)
    assert plan.last.minute == 5


def test_typed_columns_of_any_precision_are_read(tmp_path, now):
    times = [dt.datetime(2024, 1, 2, 3, n) for n in range(3)]  # noqa: DTZ001
    values = {"open": [1, 2, 3], "high": [1, 2, 3], "low": [1, 2, 3], "close": [1, 2, 3], "vol": [1.5, 2.5, None]}
    for number, dtype in enumerate((pl.Datetime("ns"), pl.Datetime("ms", "Europe/Berlin"), pl.Datetime("us"))):
        column = pl.Series("date", times, pl.Datetime("us"))
        zone = getattr(dtype, "time_zone", None)
        column = column.dt.replace_time_zone("UTC").dt.convert_time_zone(zone) if zone else column
        path = tmp_path / f"{number}.feather"
        pl.DataFrame({"date": column.cast(dtype), **values}).write_ipc(path)
        plan = understand(path, BTC, now=now)
        assert plan.first == dt.datetime(2024, 1, 2, 3, 0, tzinfo=UTC)
        assert plan.unreadable == 1
    dates = [dt.date(2024, 1, n) for n in (1, 2, 3)]
    pl.DataFrame({"date": dates, **values}).write_parquet(tmp_path / "days.parquet")
    with pytest.raises(InvalidFile, match="holds 1d bars"):
        understand(tmp_path / "days.parquet", BTC, now=now)


def test_rows_that_cannot_be_read_are_counted_and_kept(file, now):
    text = bars_text() + f"\nnever,1,1,1,1,1\n{T0 + 300_000},n/a,2,1,1,9\n{T0 + 360_000},1,2\n"
    plan = understand(file("bars.csv", text), BTC, now=now)
    assert (plan.rows, plan.unreadable) == (8, 3)
    assert any("3 of 8 rows cannot be read whole" in warning for warning in plan.warnings)
    frame = read(plan, BTC, now)
    assert frame.height == 8
    assert frame["open_time"].null_count() == 1
    assert frame["open"].null_count() == 1
    assert frame["volume"].null_count() == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.zip", b"PK\x03\x04 spoiled", "a.zip is not a whole zip archive .*: fetch it again"),
        ("a.csv.gz", gzip.compress(bars_text().encode(), mtime=0)[:40], "a.csv.gz is not a whole gzip file"),
        ("a.csv", b"", "a.csv is empty"),
        ("a.csv", b"\x00\x01\x02", "binary data"),
        ("a.csv", HEADER, "holds no rows"),
        ("a.xlsx", b"x", "a.xlsx must end in one of .csv"),
        ("a.parquet", b"PAR1 spoiled", "a.parquet cannot be read as parquet"),
        ("a.feather", b"ARROW1 spoiled", "a.feather cannot be read as feather"),
        ("a.json", b"{not json", "a.json cannot be read as json"),
        ("a.json", b'{"a": 1}', "must hold a list of rows"),
        ("a.json", b"[1, 2]", "must hold a list of rows"),
        ("a.csv", "date,open,close\n2024-01-01,1,2", "bars need open high low close volume and a time column.*found: date open close"),
        ("a.csv", "1,2\n3,4", "found: 2 columns without a header"),
        ("a.csv", bars_text() + f"\n{T0 * 1000 + 300_000_000},1,1,1,1,1", "mixes time units .5 rows in ms and 1 rows in us"),
        ("a.csv", bars_text(start=4_000_000_000_000), "5 rows lie in the future, the first at 2096.*is the time unit right"),
        ("a.csv", bars_text().replace("1.25", "x"), "column 'close' holds no numbers for close"),
        ("a.csv", HEADER + "\nyesterday,1,1,1,1,1", "holds no readable time, first 'yesterday'"),
        ("a.csv", bars_text(step=300_000), "holds 5m bars: only 1m bars are imported"),
        ("a.csv", bars_text(step=7_000), "holds 7 s bars"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_imported_say_why(file, now, name, content, message):
    with pytest.raises(InvalidFile, match=message):
        understand(file(name, content), BTC, now=now)


def test_a_path_that_holds_nothing_says_so(tmp_path, now):
    with pytest.raises(InvalidFile, match="does not exist"):
        understand(tmp_path / "nowhere", BTC, now=now)
    with pytest.raises(InvalidFile, match="holds no file to import"):
        understand(tmp_path, BTC, now=now)


def test_an_empty_archive_and_a_locked_one_say_so(file, now):
    content = io.BytesIO()
    zipfile.ZipFile(content, "w").close()
    with pytest.raises(InvalidFile, match="is an empty zip archive"):
        understand(file("a.zip", content.getvalue()), BTC, now=now)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.csv", bars_text())
    locked = bytearray(content.getvalue())
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InvalidFile, match="encrypted"):
        understand(file("b.zip", bytes(locked)), BTC, now=now)


def test_an_archive_of_several_files_is_one_import(file, now):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.csv", bars_text())
        archive.writestr("__MACOSX/a.csv", "x")
        archive.writestr(
            "b/b.csv.gz",
            gzip.compress(bars_text(header=None, start=T0 * 1_000 + 600_000_000, step=60_000_000).encode(), mtime=0),
        )
    plan = understand(file("all.zip", content.getvalue()), BTC, now=now)
    assert (plan.rows, plan.time_units) == (10, ("ms", "us"))
    assert read(plan, BTC, now)["open_time"].n_unique() == 10


@pytest.mark.parametrize(
    ("lines", "sides", "counts"),
    [
        ([f"7,1.5,2,10,12,{T0},True,True", f"8,1.6,1,13,13,{T0 + 5},False,True"], ["sell", "buy"], [3, 1]),
        ([f"7,1.5,2,10,12,{T0},true", f"8,1.6,1,13,13,{T0 + 5},false"], ["sell", "buy"], [3, 1]),
        ([f"7,1.5,2,3,{T0},True,True", f"8,1.6,1,1.6,{T0 + 5},False,True"], ["sell", "buy"], [1, 1]),
        ([f"7,1.5,2,3,{T0},true", f"8,1.6,1,1.6,{T0 + 5},false"], ["sell", "buy"], [1, 1]),
        (["id,price,qty,quote_qty,time,is_buyer_maker", f"7,1.5,2,3,{T0},true", f"8,1.6,1,1,{T0 + 5},maybe"], ["sell", None], [1, 1]),
        (["Time,ID,Side,Price,Amount", f"{T0},7,B,1.5,2", f"{T0 + 5},8,Sell,1.6,1"], ["buy", "sell"], [1, 1]),
        (["trade_id,agg_first,p,q,T", f"7,0,1.5,2,{T0}", f"8,0,1.6,1,{T0 + 5}"], [None, None], [1, 1]),
    ],
)  # fmt: skip
def test_trades_of_many_sources_name_the_taker(file, now, lines, sides, counts):
    frame = read(understand(file("trades.csv", "\n".join(lines)), BTC, now=now), BTC, now)
    assert frame.schema == RAW_TRADES.schema
    assert frame["trade_id"].to_list() == ["7", "8"]
    assert frame["price"].to_list() == [1.5, 1.6]
    assert frame["size"].to_list() == [2.0, 1.0]
    assert frame["taker_side"].to_list() == sides
    assert frame["trade_count"].to_list() == counts


def test_trades_without_ids_get_the_same_ones_each_time(file, now):
    path = file("kraken.csv", "1559347203.7998,8552.9,0.0319\n1559347203.7998,8552.9,0.0315\n1559347204.1,8552.8,1\n")
    plan = understand(path, BTC, now=now)
    assert "trades bear no ids: ids are made from time and order" in plan.warnings
    assert "3 trades do not name the taker's side" in plan.warnings
    frame = read(plan, BTC, now)
    assert frame["trade_id"].to_list() == ["1559347203799800-1", "1559347203799800-2", "1559347204100000-1"]
    assert frame["ts_event"][0] == dt.datetime(2019, 6, 1, 0, 0, 3, 799_800, tzinfo=UTC)
    assert read(plan, BTC, now).equals(frame)


def test_json_lines_and_wrapped_lists_are_read(file, now):
    objects = [{"t": T0 + n * 60_000, "o": 1, "h": 2, "l": 1, "c": 1.5, "v": "7"} for n in range(3)]
    for name, text in {
        "a.jsonl": "\n".join(map(json.dumps, objects)),
        "b.json": json.dumps({"symbol": "BTCUSDT", "data": objects}),
    }.items():
        assert read(understand(file(name, text), BTC, now=now), BTC, now)["volume"].to_list() == [7.0] * 3


def test_another_symbol_is_an_error_and_never_a_guess(file, now):
    text = "\n".join([f"symbol,{HEADER}", *(f"ETHUSDT,{line}" for line in bars_text(header=None).splitlines())])
    with pytest.raises(UnknownInstrument, match="holds ETHUSDT, which is not binance:BTC-USDT"):
        understand(file("a.csv", text), BTC, now=now)
    path = file("b.csv", text.replace("ETHUSDT", "btcusdt"))
    assert understand(path, BTC, now=now).rows == 5


def test_the_user_has_the_last_word(file, now):
    text = "\n".join(["when,a,b,c,d,e,close", *(f"{T0 + n * 60_000},1,3,0.5,2,7,99" for n in range(3))])
    path = file("odd.csv", text)
    columns = {"time": "when", "open": "a", "high": "b", "low": "c", "close": "d", "volume": "e"}
    frame = read(understand(path, BTC, columns=columns, now=now), BTC, now)
    assert frame.select("open", "high", "low", "close", "volume").row(0) == (1.0, 3.0, 0.5, 2.0, 7.0)
    with pytest.raises(InvalidFile, match="has no column 'zzz' for open"):
        understand(path, BTC, columns={"open": "zzz"}, now=now)
    with pytest.raises(InvalidFile, match="columns must be names of bars"):
        understand(path, BTC, columns={"opening": "a"}, now=now)
    with pytest.raises(InvalidFile, match="trades need"):
        understand(path, BTC, kind="trades", now=now)
    with pytest.raises(InvalidFile, match="time unit must be one of s ms us ns iso, was 'weeks'"):
        understand(path, BTC, columns=columns, time_unit="weeks", now=now)
    with pytest.raises(InvalidFile, match="holds no readable time"):
        understand(path, BTC, columns=columns, time_unit="us", now=now)


def test_bars_that_repeat_or_leave_the_grid_are_warned_of(file, now):
    plan = understand(file("a.csv", bars_text(rows=30) + f"\n{T0},1,1,1,1,1\n{T0 + 90_500},1,1,1,1,1"), BTC, now=now)
    assert "1 rows repeat a open_time that another row has" in plan.warnings
    assert "1 bars do not open on a whole minute" in plan.warnings
    assert understand(file("b.csv", bars_text(rows=1)), BTC, now=now).warnings == (
        "one bar tells no timeframe: taken as 1m",
    )


def test_a_file_that_changed_after_it_was_shown_is_not_read(file, now):
    path = file("a.csv", bars_text())
    plan = understand(path, BTC, now=now)
    path.write_text(bars_text(rows=6))
    with pytest.raises(InvalidFile, match="changed since it was looked at"):
        read(plan, BTC, now)


@given(content=st.binary(max_size=200) | st.text(alphabet="0123456789,;.\n-:TZabopen", max_size=200).map(str.encode),
       name=st.sampled_from(["a.csv", "a.json", "a.zip", "a.csv.gz", "a.parquet", "a.feather"]))  # fmt: skip
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_file_holds_only_our_errors_are_raised(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    try:
        plan = understand(path, BTC, now=dt.datetime(2026, 11, 20, tzinfo=UTC))
    except MdpError as error:
        assert isinstance(error, (InvalidFile, UnknownInstrument))  # noqa: PT017 - what is raised depends on the input
    else:
        assert plan.rows


@given(micros=st.lists(st.integers(631_152_000_000_000, 4_102_444_799_999_999), min_size=1, max_size=20),
       unit=st.sampled_from(["s", "ms", "us", "ns"]))  # fmt: skip
def test_times_written_in_any_unit_are_read_back(micros, unit):
    ticks = {"s": 1_000_000, "ms": 1_000, "us": 1}.get(unit)
    written = [m // ticks if ticks else m * 1_000 for m in micros]
    read_back = read_times(pl.Series("time", list(map(str, written))))
    assert read_back.unit == unit
    assert read_back.instants.dt.timestamp("us").to_list() == [w * ticks if ticks else w // 1_000 for w in written]
