"""Splits and dividends over the API: recorded, corrected, withdrawn, and what bars and figures are with them."""

import datetime as dt

import polars as pl
import pytest

from md_platform.catalog.ledger import PartitionRecord
from md_platform.client import MarketData
from md_platform.domain.intervals import DAY, Interval
from md_platform.domain.schemas import CLEANED_BARS, RESAMPLED_BARS
from md_platform.transforms.resampled import resample
from md_platform_tests.rows import DAY0, day_of_bars

STOCK = "file:AAPL"
DAYS = 4
SPAN = (DAY0, DAY0 + DAYS * DAY)
SPLIT, DIVIDEND = dt.date(2024, 2, 28), dt.date(2024, 2, 29)


@pytest.fixture
def market(api):
    assert api.client.post("/api/v1/instruments", json={"id": STOCK}).status_code == 201
    stores = api.app.state.stores
    for n in range(DAYS):
        date = (DAY0 + n * DAY).date()
        bars = day_of_bars(date).with_columns(instrument=pl.lit(STOCK))
        for dataset, rows in ((CLEANED_BARS, bars), (RESAMPLED_BARS, resample(bars, Interval.day(date).end))):
            stores.lake.write(stores.lake.path(dataset, STOCK, date), rows)
            stores.ledger.record(
                [PartitionRecord(dataset.name, STOCK, date, "ok", rows.height, sha256="1", evidence={"inputs": {}})]
            )
    with MarketData(str(api.client.base_url)) as client:
        yield client


def test_bars_of_every_length_are_adjusted_backwards(market):
    paid = {timeframe: market.bars(STOCK, timeframe, *SPAN) for timeframe in ("1m", "1h", "1d")}
    market.add_corporate_action(STOCK, SPLIT, "split", 4)
    market.add_corporate_action(STOCK, DIVIDEND, "dividend", 0.5)
    market.add_corporate_action(STOCK, "2190-01-01", "split", 9)  # announced: nothing is changed by it yet
    kept = 1 - 0.5 / paid["1d"]["close"][2]
    factors = [kept / 4, kept / 4, kept, 1.0]
    for timeframe, bars in paid.items():
        found = market.bars(STOCK, timeframe, *SPAN, adjusted=True)
        by_day = pl.Series([factors[(at - DAY0).days] for at in bars["open_time"]])
        assert found["close"].to_list() == pytest.approx((bars["close"] * by_day).to_list())
        assert market.bars(STOCK, timeframe, *SPAN).equals(bars)
    days = market.bars(STOCK, "1d", *SPAN, adjusted=True)
    week = market.bars(STOCK, "1w", *SPAN, adjusted=True)
    assert (week["open"][0], week["high"][0], week["close"][0]) == (
        days["open"][0],
        days["high"].max(),
        days["close"][-1],
    )
    assert market.stats(STOCK, "1d", *SPAN, adjusted=True)["total_return"][0] == pytest.approx(
        days["close"][-1] / days["close"][0] - 1
    )


def test_they_are_corrected_and_withdrawn_and_known_as_of_then(market):
    market.add_corporate_action(STOCK, SPLIT, "split", 4)
    first = market.corporate_actions(STOCK)
    assert market.add_corporate_action(STOCK, SPLIT, "split", 2)["value"].to_list() == [2.0]
    assert market.remove_corporate_action(STOCK, SPLIT, "split").is_empty()
    assert market.corporate_actions(STOCK, as_of=first["known_at"][0]).equals(first)


def test_an_answer_is_tagged_by_what_it_was_adjusted_by(api, market):
    path = f"/api/v1/bars/{STOCK}?adjusted=true&start=2024-02-26&end=2024-03-01"
    market.add_corporate_action(STOCK, SPLIT, "split", 4)
    tag = api.client.get(path).headers["etag"]
    assert api.client.get(path, headers={"if-none-match": tag}).status_code == 304
    market.add_corporate_action(STOCK, SPLIT, "split", 2)
    answer = api.client.get(path, headers={"if-none-match": tag})
    assert answer.json()["meta"]["adjustments"] == [
        {"ex_date": "2024-02-28", "kind": "split", "value": 2.0, "price_factor": 0.5, "volume_factor": 2.0}
    ]


def test_what_cannot_be_is_refused(api, market):
    path = f"/api/v1/corporate-actions/{STOCK}"
    assert api.client.post(path, json={"ex_date": "2024-02-28", "kind": "split", "value": 0}).status_code == 422
    assert api.client.post(path, json={"ex_date": 0, "kind": "split", "value": 2}).status_code == 422
    assert api.client.delete(f"{path}?ex_date=2024-02-28&kind=split").status_code == 404
    market.add_corporate_action(STOCK, DIVIDEND, "dividend", 1e6)
    answer = api.client.get(f"/api/v1/bars/{STOCK}?adjusted=true&start=2024-02-26&end=2024-03-01")
    assert answer.status_code == 422
    assert "is not less than the close before it" in answer.json()["detail"]
