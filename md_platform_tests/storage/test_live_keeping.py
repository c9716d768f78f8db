import datetime as dt
import random
import time
import uuid

import numpy as np
import polars as pl
import psycopg

from md_platform.domain.bars import roll_up
from md_platform.domain.events import Bar, Trade
from md_platform.domain.intervals import UTC, Interval, Timeframe
from md_platform.sandbox.listings import PAIRS, listings
from md_platform.sandbox.simulation import Simulation
from md_platform.settings import KeptFor
from md_platform.storage.live_reading import LiveReader
from md_platform.storage.live_rows import BARS, TABLES
from md_platform.storage.live_store import LiveStore
from md_platform.storage.migrate import migrate
from md_platform_tests.live_rows import BTC, DAY, ETH, MIDNIGHT, MINUTE, SECOND, bar, notice, quote, reject, trade

ALWAYS = Interval(dt.datetime(1990, 1, 1, tzinfo=UTC), dt.datetime(2100, 1, 1, tzinfo=UTC))
SPOOL = uuid.UUID(int=1)


def rows(url: str, query: str, *values) -> list:
    with psycopg.connect(url, options="-c timezone=UTC", autocommit=True) as connection:
        return connection.execute(query, values or None).fetchall()


def run_jobs(url: str, proc_name: str, attempts: int = 40) -> None:
    """Run TimescaleDB's jobs of one kind now; the server's own run of the same job may be in the way."""
    jobs = rows(url, "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = %s ORDER BY job_id", proc_name)
    assert jobs
    with psycopg.connect(url, autocommit=True) as connection:
        for (job,) in jobs:
            for attempt in range(attempts):
                try:
                    connection.execute("CALL run_job(%s)", (job,))
                    break
                except psycopg.Error:
                    if attempt == attempts - 1:
                        raise
                    time.sleep(0.5)


def is_timescale(url: str) -> bool:
    return bool(rows(url, "SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'"))


def random_minutes(instrument: str, days: int, seed: int) -> list[Bar]:
    """Minutes with holes, unknown values and revisions, ending at the last midnight but one."""
    rng = random.Random(seed)
    first = (time.time_ns() // DAY - 1 - days) * DAY
    found, price = [], 100.0
    for minute in range(days * 1_440):
        if rng.random() < 0.1 or 200 < minute < 330:
            continue
        opened = first + minute * MINUTE
        for revision in range(rng.choice([1, 1, 1, 1, 2, 3])):
            price = round(price + rng.gauss(0, 0.5), 2)
            volume = round(rng.random() * 10, 5)
            unknown = rng.random() < 0.002
            found.append(
                Bar(instrument, "1m", opened, opened + MINUTE, price, price + rng.random(), price - rng.random(),
                    price + rng.gauss(0, 0.1), volume, None if unknown else volume * price,
                    None if rng.random() < 0.002 else rng.randrange(50), volume / 3,
                    None if unknown else volume * price / 3, rng.random() > 0.001, "trades", revision,
                    opened + MINUTE + revision * SECOND)
            )  # fmt: skip
    rng.shuffle(found)
    return found


def assert_equal_to_the_domain(url: str, instrument: str) -> int:
    """Compare the database's bars of an hour and a day with `roll_up` of the same minutes; how many were compared."""
    compared = 0
    with LiveReader(url) as reader:
        members = reader.bars(instrument, Timeframe.M1, ALWAYS)
        assert reader.rolled_bars(instrument, Timeframe.M1, ALWAYS).drop("is_closed").equals(members.drop("is_closed"))
        for timeframe in (Timeframe.H1, Timeframe.D1):
            members = roll_up(members.lazy(), timeframe, dt.datetime.now(UTC)).collect()
            found = reader.rolled_bars(instrument, timeframe, ALWAYS)
            floats = [name for name, kind in found.schema.items() if kind == pl.Float64]
            sums = ["volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "vwap"]
            exact = [name for name in found.columns if name not in sums]
            assert found.select(exact).equals(members.select(exact))
            assert set(sums) < set(floats)
            for name in sums:
                mine, theirs = found[name], members[name]
                assert mine.is_null().equals(theirs.is_null())
                assert np.allclose(mine.drop_nulls(), theirs.drop_nulls(), rtol=1e-12, atol=0)
            compared += len(found)
    return compared


def test_the_databases_bars_equal_the_domains(live, live_url):
    for number, instrument in enumerate((BTC, ETH)):
        live.write(random_minutes(instrument, 5, number), SPOOL, number + 1)
    assert assert_equal_to_the_domain(live_url, BTC) == 5 * 24 + 5 - 1, "an hour and more had no minute"
    live.keep(KeptFor())
    for _ in range(10):  # the first refresh goes on meanwhile
        assert_equal_to_the_domain(live_url, BTC)
    if is_timescale(live_url):
        run_jobs(live_url, "refresh_rolled")
        found = rows(live_url, "SELECT view_name, format('%I.%I', materialization_hypertable_schema, "
                     "materialization_hypertable_name) FROM timescaledb_information.continuous_aggregates")  # fmt: skip
        counts = {view: rows(live_url, f"SELECT count(*) FROM {table}")[0][0] for view, table in found}
        assert counts["rolled_1m"] > 12_000
        assert counts["rolled_1h"] >= 2 * 5 * 24 - 2
        assert counts["rolled_1d"] >= 8
        assert_equal_to_the_domain(live_url, BTC)
    with LiveReader(live_url) as reader:
        known = reader.bars(BTC, Timeframe.M1, ALWAYS)
    opened = int(known["open_time"].dt.epoch("us")[500]) * 1_000
    later = bar(0, revision=9, high=1e6, quote_volume=None, open_time=opened, close_time=opened + MINUTE)
    live.write([later], SPOOL, 3)
    if is_timescale(live_url):
        run_jobs(live_url, "refresh_rolled")
    assert assert_equal_to_the_domain(live_url, BTC) == 5 * 24 + 5 - 1
    assert assert_equal_to_the_domain(live_url, ETH) > 0
    with LiveReader(live_url) as reader:
        assert reader.rolled_bars(BTC, Timeframe.D1, ALWAYS)["high"].max() == 1e6


def test_the_running_hour_and_day_are_not_closed(live, live_url):
    minute = time.time_ns() // MINUTE * MINUTE - MINUTE
    live.write([bar(0, open_time=minute, close_time=minute + MINUTE)], SPOOL, 1)
    with LiveReader(live_url) as reader:
        closed = {tf: reader.rolled_bars(BTC, tf, ALWAYS)["is_closed"].to_list() for tf in (Timeframe.M1, Timeframe.D1)}
    assert closed[Timeframe.M1] == [True]
    if minute // DAY == time.time_ns() // DAY:
        assert closed[Timeframe.D1] == [False]


def test_policies_are_applied_once_and_follow_the_settings(live, live_url):
    first = live.keep(KeptFor())
    assert live.keep(KeptFor()) == []
    changed = KeptFor(ticks=dt.timedelta(days=30), bars_1m=dt.timedelta(days=20))
    again = live.keep(changed)
    assert live.keep(changed) == []
    if not is_timescale(live_url):
        assert first == again == [], "nothing was old"
        return
    assert again == [
        "trades: drop_after 30 days",
        "quotes: drop_after 30 days",
        "bars_1s: drop_after 30 days",
        "bars_1m: drop_after 20 days",
        "aggregates: refreshed from 13 days ago",
        "rolled_1m: drop_after 20 days",
    ]
    jobs = rows(
        live_url,
        "SELECT hypertable_name, proc_name, (config ->> 'drop_after')::interval "
        "FROM timescaledb_information.jobs WHERE hypertable_schema = 'md'",
    )
    kept = {name: after.days for name, proc, after in jobs if proc == "policy_retention"}
    assert kept == {
        "trades": 30, "quotes": 30, "books": 7, "bars_1s": 30, "bars_1m": 20, "bars_intraday": 1_825, "bars_daily": 3_650,
        "venue_events": 3_650, "quarantined_messages": 30, "rolled_1m": 20, "rolled_1h": 1_825, "rolled_1d": 3_650,
    }  # fmt: skip
    in_columns = {name for name, proc, _ in jobs if proc == "policy_compression"}
    assert in_columns == kept.keys() - {"venue_events", "quarantined_messages"}


def ago(days: float) -> int:
    return time.time_ns() - int(days * DAY)


def test_what_is_too_old_is_dropped_and_the_rest_stays(live, live_url):
    ages = (0, 5, 15, 50, 400)
    events = [
        event
        for n, days in enumerate(ages)
        for event in (
            trade(n, ts_event=ago(days)),
            quote(n, ts_event=ago(days)),
            *(bar(n, tf, open_time=ago(days), close_time=ago(days), revision=n) for tf in ("1s", "1m", "5m", "1d")),
            notice(n, at=ago(days)),
            reject(n, ts_received=ago(days)),
        )
    ]
    live.write(events, SPOOL, 1)
    kept = KeptFor(
        ticks=dt.timedelta(days=10),
        bars_1m=dt.timedelta(days=30),
        bars_5m=dt.timedelta(days=365),
        bars_1d=dt.timedelta(days=3_650),
        quarantine=dt.timedelta(days=1),
    )
    done = live.keep(kept)
    if is_timescale(live_url):
        run_jobs(live_url, "policy_retention")
    else:
        assert {each.rpartition("_")[0] for each in done} == {
            "dropped trades", "dropped quotes", "dropped bars_1s", "dropped bars_1m", "dropped bars_intraday",
            "dropped quarantined_messages",
        }  # fmt: skip
    counts = {
        name: rows(live_url, f"SELECT count(*) FROM md.{name}")[0][0]
        for name in ("trades", "quotes", "bars_1s", "bars_1m", "bars_intraday", "bars_daily", "venue_events")
    }
    assert counts == {"trades": 2, "quotes": 2, "bars_1s": 2, "bars_1m": 3, "bars_intraday": 4, "bars_daily": 5,
                      "venue_events": 5}  # fmt: skip
    assert rows(live_url, "SELECT count(*) FROM md.quarantined_messages") == [(1,)]
    late = [trade(9, ts_event=ago(400)), trade(1, ts_event=ago(5))]
    assert live.write(late, SPOOL, 2).stored == {"trades": 2}, "a late row finds its partition again"


def test_a_partition_dropped_by_another_process_is_made_again(database_url):
    migrate(database_url)
    with LiveStore(database_url) as first, LiveStore(database_url) as second:
        first.write([trade(1, ts_event=ago(50))], SPOOL, 1)
        assert second.keep(KeptFor(ticks=dt.timedelta(days=10)))
        assert first.write([trade(2, ts_event=ago(50))], SPOOL, 2).stored.total() == 1


def test_late_rows_find_old_partitions_and_compressed_chunks(live, live_url):
    old = [trade(n, ts_event=ago(20) + n * SECOND) for n in range(2_000)]
    live.write([*old, *random_minutes(BTC, 20, 1)], SPOOL, 1)
    live.keep(KeptFor())
    if is_timescale(live_url):
        run_jobs(live_url, "policy_compression")
        in_columns = rows(live_url, "SELECT hypertable_name, count(*) FROM timescaledb_information.chunks "
                                    "WHERE is_compressed GROUP BY 1")  # fmt: skip
        assert dict(in_columns)["trades"] >= 1
    late = [trade(n, ts_event=old[0].ts_event + n * SECOND + 1_000) for n in range(2_000, 2_100)]
    written = live.write([*old[500:700], *late, trade(5_000, ts_event=ago(700))], SPOOL, 2)
    assert (written.stored["trades"], written.duplicate["trades"]) == (101, 200)
    assert live.write(old, SPOOL, 3).duplicate["trades"] == 2_000
    assert rows(live_url, "SELECT count(*), count(DISTINCT trade_id) FROM md.trades") == [(2_101, 2_101)]
    with LiveReader(live_url) as reader:
        assert len(reader.trades(BTC, ALWAYS)) == 2_101
    assert assert_equal_to_the_domain(live_url, BTC) > 300


def sandbox_trades(hours: int) -> list[Trade]:
    """What the sandbox venue trades in some hours, received some ms late by a clock of nanoseconds."""
    rng = np.random.default_rng(3)
    simulation = Simulation(7, listings(PAIRS[:4]))
    first = MIDNIGHT // (3_600 * SECOND)
    found: list[Trade] = []
    for listing in simulation.listings.values():
        for hour in (simulation.hour(listing, index) for index in range(first, first + hours)):
            late = rng.gamma(2, 3e6, len(hour.fills.time_us)).astype(int).tolist()
            at = (hour.fills.time_us // listing.resolution_us * listing.resolution_us * 1_000).tolist()
            prices, sizes = hour.fills.price.tolist(), hour.fills.size.tolist()
            for n, bought in enumerate(hour.fills.is_buy.tolist()):
                price, size = prices[n] / 10**listing.tick_decimals, sizes[n] / 10**listing.lot_decimals
                trade_id = hour.first_trade_id + n
                found.append(
                    Trade(listing.name, at[n], at[n] + late[n], trade_id, price, size, "buy" if bought else "sell")
                )
    return sorted(found, key=lambda each: each.ts_received)


def test_ticks_take_a_seventh_of_their_room_in_the_columnstore(timescale_url):
    migrate(timescale_url)
    ticks = sandbox_trades(24)
    with LiveStore(timescale_url) as store:
        for n in range(0, len(ticks), 20_000):
            store.write(ticks[n : n + 20_000], SPOOL, n + 1)
        rows(timescale_url, "SELECT compress_chunk(chunk) FROM show_chunks('md.trades') AS chunk")
        before, after = rows(
            timescale_url,
            "SELECT sum(before_compression_total_bytes)::bigint, sum(after_compression_total_bytes)::bigint "
            "FROM hypertable_columnstore_stats('md.trades')",
        )[0]
        share = 1 - after / before
        print(f"{len(ticks)} trades: {before / len(ticks):.0f} to {after / len(ticks):.1f} bytes, {share:.1%}")
        assert share >= 0.85
        again = store.write(ticks, uuid.UUID(int=2), 1)
        assert (again.stored.total(), again.duplicate.total()) == (0, len(ticks)), "more than TimescaleDB's own limit"


def test_every_table_and_column_says_what_it_is(live_url):
    unsaid = rows(
        live_url,
        """
        SELECT relname, attname FROM pg_class
        JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
        WHERE relnamespace = 'md'::regnamespace AND relkind IN ('r', 'p', 'v') AND NOT relispartition
          AND (col_description(attrelid, attnum) IS NULL OR obj_description(pg_class.oid, 'pg_class') IS NULL)
        """,
    )
    assert unsaid == []


def test_both_kinds_of_server_have_the_same_columns(database_url, timescale_url):
    query = (
        "SELECT table_name, column_name, data_type, is_nullable, collation_name FROM information_schema.columns "
        "WHERE table_schema = 'md' ORDER BY table_name, ordinal_position"
    )
    found = []
    for url in (database_url, timescale_url):
        migrate(url)
        found.append(rows(url, query))
    assert found[0] == found[1]
    written = {table.name: list(table.columns) for table in {*TABLES.values(), *BARS.values()}}
    for name, names in written.items():
        optional = {"detail"}
        assert [row[1] for row in found[0] if row[0] == name and row[1] not in optional] == names
