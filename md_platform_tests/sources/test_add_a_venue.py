"""Adding a venue is one file: data and pure functions, as here. The engine pages, retries and limits on its own."""

import datetime as dt
import json

import polars as pl
import pytest

from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Interval
from md_platform.domain.schemas import RAW_BARS, RAW_TRADES
from md_platform.errors import SourceRejected
from md_platform.sources.fetch import Fetcher, Meter
from md_platform.sources.rest import RestSource
from md_platform.venues.frames import bar_frame, decoded, epoch, instant, number, table, trade_frame, whole
from md_platform.venues.spec import Page, RateLimit, Request, RestHistory, VenueSpec, error_of_status
from md_platform_tests.local_server import Answer

# ── the venue's file begins ───────────────────────────────────────────────────────────────────────────────────────────


def instruments_request():
    return Request("/pairs")


def parse_instruments(payload, venue):
    return [Instrument(venue, *name.split("_"), name) for name in decoded(payload, venue)]


def bars_request(instrument, timeframe, interval):
    return Request("/bars", {"pair": instrument.native, "from": epoch(interval.start, "s"), "step": timeframe.value})


def parse_bars(payload, _request, query):
    rows = table(decoded(payload, "corner"), ("t", "open", "high", "low", "close", "volume"), "corner")
    opened = instant(whole("t"), "s").alias("open_time")
    return Page(bar_frame(rows.select(opened, *map(number, ("open", "high", "low", "close", "volume"))), query))


def trades_request(instrument, interval):
    return Request("/trades", {"pair": instrument.native, "from": epoch(interval.start, "ms"), "page": 1})


def parse_trades(payload, request, query):
    rows = table(decoded(payload, "corner"), ("trade_id", "t", "price", "size"), "corner")
    when = instant(whole("t"), "ms").alias("ts_event")
    unknown, one = pl.lit(None, pl.String).alias("taker_side"), pl.lit(1, pl.Int64).alias("trade_count")
    frame = trade_frame(rows.select(when, "trade_id", number("price"), number("size"), unknown, one), query)
    following = None if frame.is_empty() else request.changed(page=int(request.params["page"]) + 1)
    return Page(frame, following)


def parse_error(status, headers, body):
    return error_of_status("corner", status, headers, body.decode(errors="replace"))


CORNER = VenueSpec(
    id="corner",
    title="The exchange at the corner",
    rest_url="https://corner.example",
    rate_limit=RateLimit(weight=100, window_s=1),
    history=RestHistory(
        instruments_request, parse_instruments, bars_request, parse_bars, trades_request, parse_trades, parse_error
    ),
)

# ── the venue's file ends ─────────────────────────────────────────────────────────────────────────────────────────────

DAY = Interval.day(dt.date(2024, 1, 2))
START_S = int(DAY.start.timestamp())


def test_a_venue_that_is_one_file_delivers_instruments_bars_and_trades(serve, tmp_path, impatient):
    trades = [[n, START_S * 1_000 + n * 7_000, "100.5", "0.25"] for n in range(250)]

    def answer(asked):
        if asked.path == "/pairs":
            return Answer(b'["BTC_EUR","ETH_EUR"]')
        if asked.params["pair"] != "BTC_EUR":
            return Answer(b"no such pair", 404)
        if asked.path == "/bars":
            rows = [[START_S + 60 * n, 1, 2, 0.5, 1.5, "oops" if n == 3 else 10] for n in range(1_440)]
            return Answer(json.dumps(rows).encode())
        page = int(asked.params["page"])
        return Answer(json.dumps(trades[(page - 1) * 100 : page * 100]).encode())

    server, meter = serve(answer), Meter()
    source = RestSource(Fetcher(CORNER, server.url, retry=impatient), "corner", tmp_path)
    btc, eth = source.instruments(meter)
    assert (btc.id, eth.id) == ("corner:BTC-EUR", "corner:ETH-EUR")

    bars = source.bars(btc, DAY, meter)
    assert bars.schema == RAW_BARS.schema
    assert (bars.height, bars["volume"].null_count()) == (1_440, 1)

    found = source.trades(Instrument.parse("corner:BTC-EUR"), DAY, meter)
    assert found.schema == RAW_TRADES.schema
    assert found["trade_id"].to_list() == [str(n) for n in range(250)]
    assert meter.requests == len(server.asked)

    with pytest.raises(SourceRejected, match="no such pair"):
        source.bars(Instrument("corner", "XMR", "EUR", "XMR_EUR"), DAY, meter)
