"""Every feed of every venue against frames that no venue should send: nothing is raised, only events come out."""

import json
from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from md_platform.domain.events import Bar, BookUpdate, Malformed
from md_platform_tests.venues.corpus import feeds, frames
from md_platform_tests.venues.fuzzing import Fuzzed
from md_platform_tests.venues.mutation import mutated

BY_FEED = pytest.mark.parametrize("fuzzed", [pytest.param(Fuzzed(v, f), id=f.name) for v, f in feeds()])
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: (
        st.lists(children) | st.dictionaries(st.sampled_from(["type", "channel", "event", "data", "e"]), children)
    ),
    max_leaves=12,
)


@BY_FEED
@QUICK
@given(seed=st.integers(0, 2**32), beside=st.booleans())
def test_real_frames_with_something_wrong_in_them(fuzzed, seed, beside):
    random = Random(seed)
    wrong = [mutated(random.choice(fuzzed.frames), random) for _ in range(3)]
    fuzzed.feed([random.choice(fuzzed.frames), *wrong, random.choice(fuzzed.frames)] if beside else wrong[:1])


@BY_FEED
@QUICK
@given(frame=st.binary(max_size=200))
def test_any_bytes(fuzzed, frame):
    fuzzed.feed([frame])


@BY_FEED
@settings(QUICK, max_examples=60)
@given(value=ANYTHING)
def test_any_json(fuzzed, value):
    fuzzed.feed([json.dumps(value).encode()])


@BY_FEED
def test_a_good_frame_beside_a_bad_one_is_read_all_the_same(fuzzed):
    fuzzed.restart()
    good = [frame for frame in fuzzed.frames[:20] if frame.isascii()]
    alone = fuzzed.feed(good)
    fuzzed.restart()
    assert fuzzed.feed([*good, b"{"]) == alone + Counter(["Malformed"])


def test_the_frames_that_all_this_begins_from_break_no_protocol():
    for venue, feed in feeds():
        if len(frames(feed.name)) > 1:
            events = Fuzzed(venue, feed).session.receive(frames(feed.name), 1)
            assert [event for event in events if isinstance(event, Malformed)] == []
            carried = BookUpdate if "book" in feed.channels else Bar
            assert any(isinstance(event, carried) for event in events), feed.name
