"""What runs by itself: the requests that sensors and schedules make, and the runs that come of them."""

import datetime as dt
import http.server
import json
import os
import threading

import dagster as dg
import polars as pl
import pytest

from md_platform.assets import schedules, sensors
from md_platform.assets.operations import operations
from md_platform.assets.partitions import UniversePartitions
from md_platform.catalog.ledger import PartitionRecord
from md_platform.catalog.ranges import PERIODS_FOLLOW, Range
from md_platform.domain.events import Trade
from md_platform.domain.intervals import DAY, UTC, Interval
from md_platform.errors import UnknownInstrument
from md_platform.settings import VenueUrls, load_settings
from md_platform_tests.local_server import Answer, serving
from md_platform_tests.rows import day_of_bars
from md_platform_tests.streamed import stored

BTC, ETH = "binance:BTC-USDT", "binance:ETH-USDT"
AAA = "file:AAA-USD"
DATES = [dt.date(2024, 2, 26) + n * DAY for n in range(3)]
YESTERDAY = dt.datetime.now(UTC).date() - DAY


def register(platform, *instruments):
    platform.instance.add_dynamic_partitions("crypto_instruments", list(instruments))


def sensor_context(platform, cursor=None):
    return dg.build_sensor_context(platform.instance, cursor=cursor, resources={"stores": platform.stores})


@pytest.fixture
def partitions(platform):
    return UniversePartitions(platform.universe)


def listing(asked):
    symbols = [{"symbol": f"{base}USDT", "baseAsset": base, "quoteAsset": "USDT"} for base in ("BTC", "ETH")]
    return Answer(json.dumps({"symbols": symbols}).encode())


def test_instruments_of_the_settings_are_registered_once(make_platform):
    with serving(listing) as server:
        platform = make_platform(urls={"binance": VenueUrls(rest=server.url)})
        watch = sensors.instruments_sensor(
            UniversePartitions(platform.universe), (platform.universe,), ("binance:btc-usdt", "binance:ETHUSDT")
        )
        result = watch(sensor_context(platform))
        (request,) = result.dynamic_partitions_requests
        assert request.partition_keys == [BTC, ETH]
        assert [(i.id, i.native) for i, _ in platform.stores.ledger.instruments()] == [
            (BTC, "BTCUSDT"),
            (ETH, "ETHUSDT"),
        ]


def test_an_instrument_that_the_venue_does_not_list_is_said_to_be(make_platform):
    with serving(listing) as server:
        platform = make_platform(urls={"binance": VenueUrls(rest=server.url)})
        watch = sensors.instruments_sensor(
            UniversePartitions(platform.universe), (platform.universe,), ("binance:BTC-USD",)
        )
        with pytest.raises(UnknownInstrument, match="nearest: binance:BTC-USDT"):
            watch(sensor_context(platform))


def test_nothing_is_asked_of_a_venue_whose_instruments_are_registered(platform, partitions):
    register(platform, BTC)
    watch = sensors.instruments_sensor(partitions, (platform.universe,), (BTC,))
    assert "every instrument" in watch(sensor_context(platform)).skip_reason.skip_message


@pytest.fixture
def imports(tmp_path):
    folder = tmp_path / "import"
    (folder / AAA).mkdir(parents=True)
    return folder


def poll(platform, partitions, folder, cursor=None):
    context = sensor_context(platform, cursor)
    found = sensors.imports_sensor(partitions, folder)(context)
    return [item for item in found if isinstance(item, dg.RunRequest)], context.cursor


def test_a_file_in_the_import_folder_becomes_one_run_for_each_block_of_days(platform, partitions, imports, csv):
    register(platform, AAA)
    days = [DATES[0], DATES[1], DATES[1] + 5 * DAY]
    csv(f"import/{AAA}/bars.csv", pl.concat([day_of_bars(date, range(30)) for date in days]))
    requests, cursor = poll(platform, partitions, imports)
    assert [Range.of_run(request.tags) for request in requests] == [
        Range((AAA, AAA), DATES[0], DATES[1]),
        Range((AAA, AAA), days[2], days[2]),
    ]
    names = {key.path[-1] for key in requests[0].asset_selection}
    assert names >= {"raw_bars", "cleaned_bars", "archive_cleaned_bars"}
    assert "raw_trades" not in names
    assert poll(platform, partitions, imports, cursor)[0] == []

    file = imports / AAA / "bars.csv"
    os.utime(file, ns=(1, file.stat().st_mtime_ns + 10**9))
    later, _ = poll(platform, partitions, imports, cursor)
    assert {request.run_key for request in later}.isdisjoint(request.run_key for request in requests)

    chosen = requests[0].run_config["ops"]["crypto__raw_bars"]["config"]["files"]
    platform.run(["raw_bars", "cleaned_bars"], AAA, DATES[0], DATES[1], files=chosen)
    assert [row["rows"] for row in platform.ledger("cleaned_bars").values()] == [30, 30]


def test_a_file_of_trades_is_taken_for_one(platform, partitions, imports):
    register(platform, AAA)
    lines = [f"2024-02-26T00:{n:02}:00Z,{n},10.5,1,buy" for n in range(30)]
    (imports / AAA / "trades.csv").write_text("\n".join(["timestamp,id,price,amount,side", *lines]))
    ((request,), _) = poll(platform, partitions, imports)
    names = {key.path[-1] for key in request.asset_selection}
    assert names >= {"raw_trades", "cleaned_trades", "trade_bars", "cleaned_bars", "archive_cleaned_trades"}
    assert "raw_bars" not in names


def test_a_file_that_cannot_be_understood_does_not_stop_the_others(platform, partitions, imports, csv):
    register(platform, AAA)
    (imports / AAA / "a.csv").write_text("what,is,this\n1,2,3\n")
    csv(f"import/{AAA}/b.csv", day_of_bars(DATES[0], range(30)))
    requests, _ = poll(platform, partitions, imports)
    assert [request.tags["mdp/file"] for request in requests] == ["b.csv"]


@pytest.fixture
def made(platform, csv):
    """A finished run over the last days of a February."""
    file = csv("days.csv", pl.concat([day_of_bars(date, range(30)) for date in DATES]))
    names = ["raw_bars", "cleaned_bars", "resampled_bars"]
    return platform.run(names, AAA, DATES[0], DATES[-1], files=[file])


def followed(platform, partitions, run, sensor="crypto_periods"):
    (entry,) = platform.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_SUCCESS)
    context = dg.build_run_status_sensor_context(sensor, entry.dagster_event, platform.instance, run)
    return sensors.periods_sensor(partitions)(context)


def test_the_weeks_and_months_of_a_run_s_days_follow_it(platform, partitions, made):
    run = platform.instance.get_run_by_id(made.run_id)
    requests = followed(platform, partitions, run)
    assert [(r.job_name, Range.of_run(r.tags)) for r in requests] == [
        ("crypto_weekly_bars", Range((AAA, AAA), DATES[0], DATES[0])),
        ("crypto_monthly_bars", Range((AAA, AAA), dt.date(2024, 2, 1), dt.date(2024, 2, 1))),
    ]


def test_no_period_follows_a_run_whose_launcher_sees_to_it_or_that_made_no_days(platform, partitions, made):
    run = platform.instance.get_run_by_id(made.run_id)
    for other in (
        run.with_tags({**run.tags, PERIODS_FOLLOW: "true"}),
        run.with_tags({}),
        run._replace(asset_selection=frozenset({platform.key("weekly_bars")})),
        run._replace(job_name="crypto_weekly_bars", asset_selection=None),
    ):
        assert followed(platform, partitions, other) is None


def test_every_day_after_midnight_yesterday_is_made_in_one_run(platform, partitions, tmp_path, database_url):
    schedule = schedules.daily_schedule(partitions)
    assert schedule.cron_schedule == "15 0 * * *"
    when = dt.datetime(2024, 3, 1, 0, 15, tzinfo=UTC)

    def ticked(instance):
        resources = {"stores": platform.stores}
        return list(schedule(dg.build_schedule_context(instance, scheduled_execution_time=when, resources=resources)))

    def tick(instance):
        (request,) = ticked(instance)
        return request

    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        assert "MDP_INSTRUMENTS" in tick(instance).skip_message
        instance.add_dynamic_partitions("crypto_instruments", [BTC, ETH, AAA])
        yesterday = dt.date(2024, 2, 29)
        assert Range.of_run(tick(instance).tags) == Range((BTC, AAA), yesterday, yesterday)
        at_noon = int(dt.datetime(2024, 2, 29, 12, tzinfo=UTC).timestamp()) * 10**9
        stored(database_url, [Trade(ETH, at_noon, at_noon, 1, 10.0, 1.0)])
        streamed, *others = ticked(instance)
        assert Range.of_run(streamed.tags) == Range((ETH, ETH), yesterday, yesterday)
        assert [Range.of_run(each.tags).instruments for each in others] == [(BTC, BTC), (AAA, AAA)]
        made = [{key.path[-1] for key in each.asset_selection} for each in (streamed, others[0])]
        assert made[0] - made[1] == {"live_trades", "cleaned_trades", "trade_bars", "archive_cleaned_trades"}
        assert "raw_trades" not in made[0]
        assert len({each.run_key for each in (streamed, *others)}) == 3


def test_freshness_names_the_instruments_that_are_behind(platform, partitions):
    register(platform, BTC, ETH, AAA)
    platform.stores.ledger.record([
        PartitionRecord("archive_cleaned_bars", BTC, YESTERDAY, "ok", 1),
        PartitionRecord("archive_cleaned_bars", ETH, YESTERDAY - 3 * DAY, "degraded", 1),
        PartitionRecord("archive_cleaned_bars", ETH, YESTERDAY, "failed"),
    ])  # fmt: skip
    check = schedules.freshness_check(partitions)
    context = dg.build_asset_check_context(instance=platform.instance, resources={"stores": platform.stores})
    result = check(context)
    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.WARN
    assert result.metadata["stale"].value == {ETH: str(YESTERDAY - 3 * DAY), AAA: "never"}


def test_maintenance_goes_over_every_table_there_is(platform, made):
    platform.run(["archive_cleaned_bars"], AAA, DATES[0], DATES[-1])
    span = Interval(Interval.day(DATES[0]).start, Interval.day(DATES[-1]).end)
    before = platform.stores.archive.read("cleaned_bars", [AAA], span, "open_time")
    result = schedules.archive_maintenance.execute_in_process(
        instance=platform.instance, resources={"stores": platform.stores}
    )
    assert result.success
    assert platform.stores.archive.read("cleaned_bars", [AAA], span, "open_time").equals(before)


@pytest.fixture
def webhook():
    """Address of a server, and the JSON that was posted to it."""
    told = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

    with http.server.HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", told
        server.shutdown()
        thread.join()


def test_a_failed_run_is_told_to_the_webhook(platform, tmp_path, webhook):
    url, told = webhook
    broken = tmp_path / "broken.csv"
    broken.write_text("no,bars\n1,2\n")
    failed = platform.run(["raw_bars"], AAA, DATES[0], files=[broken], fails=True)
    (entry,) = platform.instance.all_logs(failed.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    run = platform.instance.get_run_by_id(failed.run_id)
    context = dg.build_run_status_sensor_context("failures", entry.dagster_event, platform.instance, run)
    sensors.failure_sensor(url)(context.for_run_failure())
    sensors.failure_sensor(None)(context.for_run_failure())
    (message,) = told
    assert (message["event"], message["run_id"]) == ("run_failed", failed.run_id)
    assert message["partitions"] == f"{DATES[0]} to {DATES[0]}"
    assert message["error"].startswith("raw_bars failed: ")


def test_all_that_runs_by_itself_is_there_for_each_universe(partitions):
    defs = operations([partitions], load_settings({"MDP_HOME": "home"}))
    assert {schedule.name for schedule in defs.schedules} == {"archive_maintenance", "crypto_daily", "crypto_freshness"}
    assert {sensor.name for sensor in defs.sensors} == {
        "failures", "crypto_instruments", "crypto_imports", "crypto_periods",
    }  # fmt: skip
