"""Exports through the API: real files, a real queue, a worker process that is killed; the same bytes as `mdp export`."""

import io
import multiprocessing
import os
import signal
import time
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl
import psycopg
import pytest

from md_platform import cli
from md_platform.catalog.ledger import PartitionRecord
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY
from md_platform.domain.schemas import CLEANED_BARS
from md_platform.jobs.exports import Exports
from md_platform.jobs.queue import Jobs
from md_platform.jobs.worker import Work, Worker
from md_platform.storage.migrate import migrate
from md_platform_tests.api_server import Served, served, stores_of
from md_platform_tests.rows import BTC, DAY0, day_of_bars

ETH = "binance:ETH-USDT"
DAYS = 4
START, END = DAY0.date(), DAY0.date() + DAYS * DAY
BODY = {"dataset": "cleaned_bars", "ids": [BTC], "start": str(START), "end": str(END)}
FORMS = {"csv": "csv", "json": "ndjson", "parquet": "parquet", "arrow": "arrows"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def api(folder, module_database_url, module_redis_url):
    migrate(module_database_url)
    stores = stores_of(folder, module_database_url, module_redis_url)
    stores.ledger.register([(Instrument.parse(BTC, native="BTCUSDT"), "crypto"), (Instrument.parse(ETH), "crypto")])
    for instrument in (BTC, ETH):
        for n in range(DAYS):
            date = START + n * DAY
            frame = day_of_bars(date, instrument=instrument)
            stores.lake.write(stores.lake.path(CLEANED_BARS, instrument, date), frame)
            stores.ledger.record([PartitionRecord("cleaned_bars", instrument, date, "ok", frame.height)])
    with served(stores) as running:
        yield running


def start(api: Served, status: int = 202, **given):
    answer = api.client.post("/api/v1/exports", json=BODY | given)
    assert answer.status_code == status, answer.text
    return answer.json()


def ends(api: Served, id_: str, state: str = "done"):
    deadline = time.monotonic() + 30
    while (found := api.client.get(f"/api/v1/exports/{id_}").json())["state"] in ("queued", "running"):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    assert found["state"] == state, found
    return found


def exported(api: Served, folder: Path, module_database_url: str, form: str, monkeypatch, **more: str) -> bytes:
    """What `mdp export` writes of the same."""
    monkeypatch.setenv("MDP_HOME", str(folder))
    monkeypatch.setenv("MDP_DATABASE_URL", module_database_url)
    output = folder / f"by-hand.{form}"
    options = [part for name, value in more.items() for part in (f"--{name}", value)]
    arguments = ["export", "cleaned_bars", BTC, "--start", str(START), "--end", str(END), "--format", form, *options]
    with pytest.raises(SystemExit) as exit_of:
        cli.main([*arguments, "--output", str(output)])
    assert exit_of.value.code == 0
    return output.read_bytes()


@pytest.mark.parametrize("form", FORMS)
def test_files_and_streams_are_what_mdp_export_writes(api, folder, module_database_url, form, monkeypatch):
    wanted = exported(api, folder, module_database_url, form, monkeypatch)
    ended = ends(api, start(api, format=form)["id"])
    assert ended["done"] == ended["total"] == DAYS
    (file,) = ended["files"]
    assert (file["rows"], file["bytes"]) == (DAYS * 1440, len(wanted))
    assert file["name"] == f"cleaned_bars-binance_BTC-USDT.{FORMS[form]}"
    address = f"/api/v1/exports/{ended['id']}/files/{file['name']}"
    assert api.client.get(address).content == wanted
    part = api.client.get(address, headers={"range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, wanted[1000:2000])
    streamed = api.client.get("/api/v1/downloads", params={"dataset": "cleaned_bars", "id": "BTCUSDT",
                                                                 "start": str(START), "end": str(END), "format": form})  # fmt: skip
    assert streamed.content == wanted
    assert file["name"] in streamed.headers["content-disposition"]


def test_columns_and_timeframes_are_chosen_as_mdp_export_does(api, folder, module_database_url, monkeypatch):
    wanted = exported(api, folder, module_database_url, "csv", monkeypatch, columns="close,volume", timeframe="1m")
    params = {"dataset": "cleaned_bars", "id": BTC, "start": str(START), "end": str(END), "columns": "close,volume",
              "timeframe": "1m"}  # fmt: skip
    assert api.client.get("/api/v1/downloads", params=params).content == wanted


def test_arrow_and_parquet_hold_the_rows(api):
    params = {"dataset": "cleaned_bars", "id": BTC, "start": str(START), "end": str(END)}
    frames = [
        read(io.BytesIO(api.client.get("/api/v1/downloads", params=params | {"format": form}).content))
        for form, read in (("arrow", pl.read_ipc_stream), ("parquet", pl.read_parquet))
    ]
    assert frames[0].equals(frames[1])
    assert frames[0].height == DAYS * 1440


def test_several_instruments_are_a_zip_or_files(api):
    ended = ends(api, start(api, ids=[BTC, "ETH-USDT"])["id"])
    (file,) = ended["files"]
    content = api.client.get(f"/api/v1/exports/{ended['id']}/files/{file['name']}").content
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        assert packed.namelist() == ["cleaned_bars-binance_BTC-USDT.csv", "cleaned_bars-binance_ETH-USDT.csv"]
        zipped = packed.read(packed.namelist()[1])
    apart = ends(api, start(api, ids=[BTC, ETH], pack="files")["id"])
    assert len(apart["files"]) == 2
    assert api.client.get(f"/api/v1/exports/{apart['id']}/files/{apart['files'][1]['name']}").content == zipped


def test_signed_links_need_no_credential_and_end(api):
    ended = ends(api, start(api)["id"])
    name = ended["files"][0]["name"]

    def link(**given):
        answer = api.client.post(f"/api/v1/exports/{ended['id']}/links", json={"name": name} | given)
        assert answer.status_code == 201, answer.text
        return answer.json()["path"]

    path = link()
    assert len(api.client.get(path).content) == ended["files"][0]["bytes"]
    assert api.client.get(path, headers={"range": "bytes=0-9"}).status_code == 206
    forged = path.replace("signature=", "signature=0")[:-1]
    assert api.client.get(forged).status_code == 403
    assert api.client.get(path.replace("expires=1", "expires=2")).status_code == 403
    assert api.client.get(path.replace("nonce=", "nonce=ab")).status_code == 403
    once = link(once=True)
    assert [api.client.get(once).status_code for _ in range(2)] == [200, 403]
    brief = link(expires_in_s=1)
    time.sleep(1.1)
    assert api.client.get(brief).status_code == 403
    assert urlsplit(brief).path.endswith(name)
    assert api.client.post(f"/api/v1/exports/{ended['id']}/links", json={"name": "other.csv"}).status_code == 404


def test_files_end_when_they_are_deleted_or_expire(api, folder, module_database_url):
    first, second = (ends(api, start(api)["id"]) for _ in range(2))
    assert api.client.delete(f"/api/v1/exports/{first['id']}").json()["state"] == "expired"
    assert not (folder / "exports" / first["id"]).exists()
    with psycopg.connect(module_database_url) as connection:
        connection.execute("UPDATE md.jobs SET expires_at = now() WHERE id = %s", (second["id"],))
    deadline = time.monotonic() + 10
    while api.client.get(f"/api/v1/exports/{second['id']}").json()["state"] != "expired":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    deadline = time.monotonic() + 5
    while (folder / "exports" / second["id"]).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert api.client.get(f"/api/v1/exports/{second['id']}/files/x.csv").status_code == 404


@pytest.mark.parametrize(
    ("given", "status", "kind"),
    [
        ({"dataset": "nothing"}, 404, "unknown-dataset"),
        ({"ids": ["nothing"]}, 404, "unknown-instrument"),
        ({"end": str(START)}, 422, "invalid-range"),
        ({"timeframe": "1h"}, 422, "invalid-timeframe"),
        ({"columns": ["closed"]}, 422, "user-error"),
        ({"format": "xlsx"}, 422, "invalid-request"),
    ],
)
def test_a_wrong_request_is_refused(api, given, status, kind):
    assert start(api, status, **given)["type"] == f"urn:md-platform:{kind}"


def slow_worker(folder: Path, database_url: str, redis_url: str) -> None:
    """Works on exports, a minute for each instrument after the first."""
    stores = stores_of(folder, database_url, redis_url)
    stores.operations.close()

    class Slow(Exports):
        def do(self, task):
            before = task.report

            def report(done, total, detail):
                before(done, total, detail)
                if detail["files"]:
                    before(done, total, {**detail, "slept": True})
                    time.sleep(60)

            task.report = report
            return super().do(task)

    jobs = Jobs(database_url)
    worker = Worker(jobs, {"export": Work(Slow(jobs, stores.reader, folder / "exports").do, 1)})
    worker.start()
    time.sleep(120)


def test_an_export_goes_on_after_its_process_was_killed(folder, api, module_database_url, request):
    redis_url = request.getfixturevalue("module_redis_url")
    stores = api.app.state.stores
    jobs = Jobs(module_database_url)
    wish = {**BODY, "ids": None, "instruments": [BTC, ETH], "timeframe": None, "columns": None, "format": "csv",
            "pack": "files", "start": f"{START}T00:00:00+00:00", "end": f"{END}T00:00:00+00:00"}  # fmt: skip
    stores.operations.close()
    job = jobs.add("export", "anonymous", wish)
    process = multiprocessing.get_context("spawn").Process(
        target=slow_worker, args=(folder, module_database_url, redis_url)
    )
    process.start()
    deadline = time.monotonic() + 60
    while not jobs.get("export", job.id).detail.get("slept"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    first = folder / "exports" / job.id / "cleaned_bars-binance_BTC-USDT.csv"
    written_at = first.stat().st_mtime_ns
    with psycopg.connect(module_database_url) as connection:
        connection.execute("UPDATE md.jobs SET seen_at = now() - interval '1 minute' WHERE id = %s", (job.id,))
    again = Worker(jobs, {"export": Work(Exports(jobs, stores.reader, folder / "exports").do, 1)})
    again.start()
    ended = ends(api, job.id)
    again.close()
    assert [file["rows"] for file in ended["files"]] == [DAYS * 1440] * 2
    assert first.stat().st_mtime_ns == written_at
