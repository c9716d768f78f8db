"""Calls about the platform and its jobs, on a real API."""

import datetime as dt

import polars as pl
import pytest

from md_platform.client import Backfill
from md_platform.client.jobs import Export
from md_platform.errors import MdpError, NotFound, ServiceError, UnknownDataset
from md_platform_tests.client.filled import BTC, DAYS, END, ETH, START


def test_what_is_there(server):
    known = server.datasets()
    assert known.filter(name="cleaned_bars")["partitions"].item() == 2 * DAYS
    assert known.schema["first_day"] == pl.Date
    assert server.columns("cleaned_bars").filter(name="close")["unit"].item() == "quote"
    with pytest.raises(UnknownDataset):
        server.columns("nothing")
    coverage = server.coverage("cleaned_bars")
    assert coverage.group_by("instrument").len().sort("instrument").rows() == [(BTC, DAYS), (ETH, DAYS)]
    assert coverage.filter(instrument=BTC)["date"].to_list() == [
        (START + dt.timedelta(days=n)).date() for n in range(DAYS)
    ]
    assert set(coverage["status"]) == {"ok"}
    assert server.partition("cleaned_bars", BTC, START.date())["rows"] == 1_440
    assert server.quality([BTC, ETH])["instrument"].to_list() == [BTC] * DAYS + [ETH] * DAYS
    assert server.events(BTC).is_empty()


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_an_export_is_waited_for_fetched_and_resumed(server, tmp_path, form):
    started = server.export("cleaned_bars", BTC, START, END, format=form)
    assert isinstance(started, Export)
    done = server.wait(started, timeout_s=60)
    (path,) = server.download(done, tmp_path)
    whole = path.read_bytes()
    assert len(whole) == done.files[0].bytes
    part = path.with_name(f"{path.name}.part")
    path.unlink()
    part.write_bytes(whole[:1_000])
    assert server.download(done, tmp_path)[0].read_bytes() == whole
    path.unlink()
    part.write_bytes(b"not of this file" * 10)
    assert server.download(done, tmp_path)[0].read_bytes() == whole
    assert not part.exists()
    assert done.id in [each.id for each in server.exports()]
    server.cancel(done)
    with pytest.raises(NotFound):
        server.download(done, tmp_path / "elsewhere")


def test_a_backfill_of_what_cannot_be_loaded_fails_with_its_reason(server):
    """No Dagster runs here."""
    try:
        started = server.backfill(BTC, "2026-01-01", "2026-01-02")
        assert isinstance(started, Backfill)
        with pytest.raises(ServiceError):
            server.wait(started, timeout_s=30)
    except MdpError as error:
        assert error.retryable  # noqa: PT017 - it may also be refused at once
