import datetime as dt
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from md_platform.catalog.ranges import RANGE_END, RANGE_START, Range, blocks, neighbours
from md_platform.domain.intervals import DAY

D = dt.date(2024, 2, 27)
dates = st.integers(0, 40).map(lambda n: D + n * DAY)


@given(st.sets(dates))
def test_blocks_hold_every_date_once_and_touch_no_other(wanted):
    found = list(blocks(wanted))
    covered = [first + n * DAY for first, last in found for n in range((last - first).days + 1)]
    assert covered == sorted(wanted)
    assert all(later[0] - earlier[1] > DAY for earlier, later in pairwise(found))


def test_blocks_of_weeks_follow_each_other_by_weeks():
    weeks = [dt.date(2024, 2, 26), dt.date(2024, 3, 4), dt.date(2024, 3, 18)]
    assert list(blocks(weeks, lambda week: week + 7 * DAY)) == [(weeks[0], weeks[1]), (weeks[2], weeks[2])]


names = [f"v:{letter}" for letter in "ZAYBXCWD"]


@given(st.sets(st.sampled_from(names)))
def test_neighbours_follow_the_order_of_registration_not_of_names(wanted):
    groups = list(neighbours(wanted, names))
    assert [name for group in groups for name in group] == [name for name in names if name in wanted]
    for group in groups:
        start = names.index(group[0])
        assert list(group) == names[start : start + len(group)]
    ends = [names.index(group[-1]) for group in groups]
    assert all(names.index(group[0]) > end + 1 for group, end in zip(groups[1:], ends, strict=False))


def test_a_range_names_its_corners_and_is_read_back():
    tags = Range(("v:Z", "v:A"), D, D + DAY).tags
    assert tags == {RANGE_START: "2024-02-27|v:Z", RANGE_END: "2024-02-28|v:A"}
    assert Range.of_run(tags) == Range(("v:Z", "v:A"), D, D + DAY)
    assert Range.of_run({"dagster/partition": "2024-02-27|v:Z"}) == Range(("v:Z", "v:Z"), D, D)
    assert Range.of_run({"other": "tag"}) is None
