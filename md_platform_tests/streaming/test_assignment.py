"""Which shard streams what, and how little moves when there is one more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from md_platform.errors import InvalidSetting
from streaming.assignment import Shard, assigned, index_of

NAMES = st.lists(st.from_regex(r"binance:[A-Z]{3,5}-USDT", fullmatch=True), unique=True, max_size=60)


@given(NAMES, st.integers(1, 20))
def test_every_instrument_has_one_shard(names: list[str], count: int) -> None:
    parts = [assigned(names, Shard(index, count)) for index in range(count)]
    assert sorted(name for part in parts for name in part) == sorted(names)


@given(NAMES, st.integers(1, 20))
def test_with_a_shard_more_instruments_move_to_it_and_nowhere_else(names: list[str], count: int) -> None:
    moved = [name for name in names if index_of(name, count) != index_of(name, count + 1)]
    assert all(index_of(name, count + 1) == count for name in moved)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 15])
def test_about_one_in_n_moves_and_the_shards_are_about_equal(count: int) -> None:
    names = [f"binance:A{number}-USDT" for number in range(5_000)]
    moved = sum(index_of(name, count) != index_of(name, count + 1) for name in names) / len(names)
    assert moved == pytest.approx(1 / (count + 1), rel=0.15)
    sizes = [len(assigned(names, Shard(index, count))) for index in range(count)]
    assert max(sizes) < 1.25 * len(names) / count


def test_an_assignment_is_for_good() -> None:
    """Else processes of two versions would stream the same instrument, or none."""
    assert [index_of(name, 5) for name in ("binance:BTC-USDT", "kraken:ETH-USD", "okx:SOL-USDT-PERP")] == [1, 1, 0]


@pytest.mark.parametrize("text", ["", "1", "3/3", "-1/3", "0/0", "a/b", "1/2/3"])
def test_what_is_no_shard_is_an_error(text: str) -> None:
    with pytest.raises(InvalidSetting, match="such as 0/3"):
        Shard.parse(text)
    assert Shard.parse(" 1/3 ") == Shard(1, 3)
