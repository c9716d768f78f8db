"""Planning: what is whole, what is behind, and that ranges hold what is wanted and nothing else."""

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from md_platform.catalog.backfill import (
    Chain,
    Launch,
    behind_by_look_back,
    behind_periods,
    next_period,
    period_start,
    ranges_of,
    summary,
    unmade,
)
from md_platform.catalog.ledger import State
from md_platform.catalog.ranges import Range, next_day
from md_platform.domain.intervals import DAY, UTC, Timeframe

D = dt.date(2024, 2, 26)  # a Monday
T = dt.datetime(2024, 3, 20, tzinfo=UTC)
HOUR = dt.timedelta(hours=1)
ARCHIVE = Chain("archive")


def whole(*days: dt.date, at: dt.datetime = T) -> dict[tuple[str, dt.date], State]:
    """The states that a run to the archive leaves behind."""
    states = {}
    for day in days:
        sha256 = {name: f"{name} {day}" for name in ("raw_bars", "cleaned_bars", "resampled_bars", "indicators")}
        inputs = {
            "cleaned_bars": ["raw_bars"],
            "resampled_bars": ["cleaned_bars"],
            "indicators": ["cleaned_bars", "resampled_bars"],
        }
        for name in ARCHIVE.assets:
            made_of = {each: sha256[each] for each in inputs.get(name, [])}
            content = sha256[name.removeprefix("archive_")]
            states[name, day] = State("ok", 1_440, content, inputs=made_of, updated_at=at, changed_at=at)
    return states


def changed(states, key, **changes):
    return {**states, key: replace(states[key], **changes)}


def test_what_is_whole_is_left_alone_and_the_rest_is_made():
    assert unmade(whole(D, D + 2 * DAY), ARCHIVE, [D, D + DAY, D + 2 * DAY]) == [D + DAY]
    assert unmade({}, ARCHIVE, [D]) == [D]


@pytest.mark.parametrize(
    ("status", "again"),
    [("ok", False), ("degraded", False), ("closed", False), ("missing", True), ("failed", True), ("pending", True)],
)
@pytest.mark.parametrize("dataset", ARCHIVE.targets)
def test_a_day_is_made_again_unless_every_target_is_settled(dataset, status, again):
    assert bool(unmade(changed(whole(D), (dataset, D), status=status), ARCHIVE, [D])) == again


def test_a_stage_looks_no_further_than_itself():
    states = {key: state for key, state in whole(D).items() if key[0] in ("raw_bars", "cleaned_bars")}
    assert unmade(states, Chain("cleaned"), [D]) == []
    assert unmade(states, Chain("resampled"), [D]) == [D]
    assert unmade(states, Chain("cleaned", trades=True), [D]) == [D]


def test_trades_are_asked_of_their_source_even_where_all_was_made_of_streamed_ones():
    chain = Chain("cleaned", trades=True)
    states = {(name, D): State("ok", 9, name) for name in chain.assets if name != "raw_trades"}
    assert unmade(states, chain, [D]) == [D]
    states |= {("raw_trades", D): State("ok", 9), ("live_trades", D): State("missing")}
    assert unmade(states, chain, [D]) == [], "a day that was not streamed is whole without"


@pytest.mark.parametrize("dataset", ["raw_bars", "cleaned_bars", "resampled_bars", "indicators"])
def test_what_was_made_from_other_inputs_is_made_again(dataset):
    assert unmade(changed(whole(D), (dataset, D), sha256="a run that was killed"), ARCHIVE, [D]) == [D]


def test_imported_days_need_no_bars_of_a_venue():
    states = {key: state for key, state in whole(D).items() if key[0] != "raw_bars"}
    states = changed(states, ("cleaned_bars", D), inputs={})
    assert unmade(states, ARCHIVE, [D]) == []


def test_indicators_follow_a_change_within_their_look_back():
    days = [D + n * DAY for n in range(6)]
    states = whole(*days)
    assert behind_by_look_back(states, D, D + 6 * DAY, 3) == []
    late = changed(states, ("cleaned_bars", D + DAY), changed_at=T + HOUR)
    assert behind_by_look_back(late, D, D + 6 * DAY, 3) == days[1:5]
    assert behind_by_look_back(late, D + 2 * DAY, D + 6 * DAY, 3) == []
    assert behind_by_look_back(changed(late, ("indicators", D + 2 * DAY), status="failed"), D, D + DAY * 6, 3) == [
        days[1],
        *days[3:5],
    ]


@given(
    st.dictionaries(st.integers(0, 30), st.integers(0, 9)), st.dictionaries(st.integers(0, 30), st.integers(0, 9)),
    st.integers(0, 12), st.integers(0, 30), st.integers(1, 31),
)  # fmt: skip
def test_behind_is_what_its_words_say(changes, made, look_back, start, length):
    states = {("resampled_bars", D + n * DAY): State("ok", changed_at=T + at * HOUR) for n, at in changes.items()}
    states |= {("indicators", D + n * DAY): State("ok", updated_at=T + at * HOUR) for n, at in made.items()}
    inside = range(start, start + length)
    expected = [
        D + day * DAY
        for day, at in sorted(made.items())
        if any(changed > at for past, changed in changes.items() if past in inside and day - look_back <= past <= day)
    ]
    assert behind_by_look_back(states, D + start * DAY, D + (start + length) * DAY, look_back) == expected


def test_weeks_and_months_follow_their_days():
    days = [D + n * DAY for n in range(9)]  # Monday 26 February to Tuesday 5 March
    weeks = [dt.date(2024, 2, 26), dt.date(2024, 3, 4)]
    months = [dt.date(2024, 2, 1), dt.date(2024, 3, 1)]
    states = whole(*days)
    assert behind_periods(states, Timeframe.W1, D, D + 9 * DAY) == weeks
    assert behind_periods(states, Timeframe.MONTH1, D, D + 9 * DAY) == months
    assert behind_periods(states, Timeframe.W1, D, D + DAY) == weeks[:1]
    made = State("ok", 1, "week", updated_at=T + HOUR, changed_at=T + HOUR)
    for week in weeks:
        states |= {("weekly_bars", week): made, ("archive_weekly_bars", week): made}
    assert behind_periods(states, Timeframe.W1, D, D + 9 * DAY) == []
    late = changed(states, ("resampled_bars", D + 8 * DAY), changed_at=T + 2 * HOUR)
    assert behind_periods(late, Timeframe.W1, D, D + 9 * DAY) == weeks[1:]


@pytest.mark.parametrize(
    ("dataset", "changes"),
    [
        ("weekly_bars", {"status": "failed"}),
        ("archive_weekly_bars", {"status": "pending"}),
        ("archive_weekly_bars", {"sha256": "older"}),
    ],
)
def test_a_week_that_did_not_come_whole_is_made_again(dataset, changes):
    made = State("ok", 1, "week", updated_at=T + HOUR, changed_at=T + HOUR)
    states = whole(D) | {("weekly_bars", D): made, ("archive_weekly_bars", D): made}
    assert behind_periods(states, Timeframe.W1, D, D + DAY) == []
    assert behind_periods(changed(states, (dataset, D), **changes), Timeframe.W1, D, D + DAY) == [D]


def test_a_period_without_days_is_not_made():
    assert behind_periods({}, Timeframe.W1, D, D + 30 * DAY) == []


def test_periods_begin_on_mondays_and_firsts():
    assert period_start(Timeframe.W1, dt.date(2024, 3, 3)) == D
    assert next_period(Timeframe.MONTH1)(dt.date(2024, 12, 1)) == dt.date(2025, 1, 1)


REGISTERED = ["b:Z", "a:Q", "b:A", "b:M", "a:B", "b:C", "a:C", "a:D"]
todo = st.dictionaries(st.sampled_from(REGISTERED), st.sets(st.integers(0, 12).map(lambda n: D + n * DAY), min_size=1))


def partitions(found: Range) -> list[tuple[str, dt.date]]:
    """What Dagster makes of a range: neighbours in order of registration × days."""
    start, end = REGISTERED.index(found.instruments[0]), REGISTERED.index(found.instruments[-1])
    days = [found.first + n * DAY for n in range((found.last - found.first).days + 1)]
    return [(name, day) for name in REGISTERED[start : end + 1] for day in days]


@given(todo, st.integers(1, 30))
def test_every_wanted_partition_is_in_exactly_one_range_and_no_other(wanted, at_most):
    ranges = ranges_of(wanted, REGISTERED, at_most=at_most)
    assert sorted(each for found in ranges for each in partitions(found)) == sorted(
        (name, day) for name, days in wanted.items() for day in days
    )
    for found in ranges:
        assert len({name.partition(":")[0] for name in found.instruments}) == 1
        assert len(found.instruments) == 1 or len(partitions(found)) <= at_most
    assert [found.first for found in ranges] == sorted(found.first for found in ranges)


def test_equal_days_of_neighbours_are_one_range():
    days = [D, D + DAY]
    assert ranges_of({"b:A": days, "b:M": days, "b:Z": days}, REGISTERED) == [
        Range(("b:Z",), D, D + DAY),
        Range(("b:A", "b:M"), D, D + DAY),
    ]


def test_only_registered_instruments_can_be_run():
    with pytest.raises(ValueError, match="b:NEW"):
        ranges_of({"b:NEW": [D]}, REGISTERED)


def test_a_launch_counts_what_it_makes():
    days = Launch.of("crypto", ["a", "b"], Range(("b:A", "b:M"), D, D + 4 * DAY), next_day)
    assert (days.dates, days.size) == (5, 20)
    months = Range(("b:A",), dt.date(2024, 1, 1), dt.date(2024, 3, 1))
    assert Launch.of("crypto", ["m"], months, next_period(Timeframe.MONTH1)).size == 3


def test_a_summary_tells_each_day_by_its_worst_and_why():
    days = [D + n * DAY for n in range(4)]
    first, last = (dt.datetime(2024, 2, 26, h, tzinfo=UTC) for h in (0, 23))
    states = changed(whole(*days[:3]), ("archive_cleaned_bars", D), first_time=first, last_time=last)
    states = changed(states, ("archive_indicators", D + DAY), status="degraded")
    states = changed(states, ("cleaned_bars", D + 2 * DAY), status="failed", reason="no open time")
    states = changed(states, ("resampled_bars", D + 2 * DAY), status="pending", reason="cleaned_bars is failed")
    found = summary("b:A", states, ARCHIVE, days)
    assert {status: n for status, n in found.statuses.items() if n} == {
        "ok": 1, "degraded": 1, "failed": 1, "pending": 1,
    }  # fmt: skip
    assert (found.days, found.rows, found.first, found.last) == (4, 3 * 1_440, first, last)
    assert [(p.dataset, p.date, p.reason) for p in found.problems] == [("cleaned_bars", days[2], "no open time")]
