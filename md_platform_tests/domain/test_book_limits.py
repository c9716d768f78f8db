"""Books that know how far a snapshot reaches, and books whose venue numbers anew."""

import pytest

from md_platform.domain.books import BookRules, OrderBook
from md_platform.domain.events import BookUpdate, Level


def snapshot(bids: list[Level], asks: list[Level]) -> BookUpdate:
    return BookUpdate("x:A-B", 1, 1, bids, asks, is_snapshot=True, sequence=1)


def change(sequence: int, bids: list[Level], asks: list[Level]) -> BookUpdate:
    return BookUpdate("x:A-B", 1, 1, bids, asks, sequence=sequence, previous_sequence=sequence - 1)


BIDS = [("10", "1"), ("9", "1"), ("8", "1")]
ASKS = [("11", "1"), ("12", "1"), ("13", "1")]


def test_nothing_is_kept_beyond_the_last_level_of_a_cut_snapshot() -> None:
    book = OrderBook(BookRules(snapshot_depth=3, least_levels=2))
    book.apply(snapshot(BIDS, ASKS))
    assert book.apply(change(2, [("7.9", "5"), ("8.5", "2")], [("13.1", "5"), ("13", "0")])) == "applied"
    assert book.bids() == [("10", "1"), ("9", "1"), ("8.5", "2"), ("8", "1")]
    assert book.asks() == [("11", "1"), ("12", "1")]


def test_a_side_that_runs_low_is_a_gap_until_the_next_snapshot() -> None:
    book = OrderBook(BookRules(snapshot_depth=3, least_levels=2))
    book.apply(snapshot(BIDS, ASKS))
    assert book.apply(change(2, [("10", "0"), ("9", "0")], [])) == "gap"
    assert not book.is_right
    assert book.apply(snapshot(BIDS, ASKS)) == "applied"
    assert book.is_right


def test_a_snapshot_that_was_not_cut_holds_the_whole_book() -> None:
    book = OrderBook(BookRules(snapshot_depth=4, least_levels=3))
    book.apply(snapshot(BIDS, ASKS))
    assert book.apply(change(2, [("7", "5"), ("10", "0"), ("9", "0")], [])) == "applied"
    assert book.bids() == [("8", "1"), ("7", "5")]


@pytest.mark.parametrize(("restarts", "outcome"), [(False, "old"), (True, "gap")])
def test_a_lower_number_is_old_unless_the_venue_numbers_anew(restarts: bool, outcome: str) -> None:  # noqa: FBT001
    book = OrderBook(BookRules(follows=lambda last, u: u.previous_sequence == last, restarts=restarts))
    book.apply(BookUpdate("x:A-B", 1, 1, [], [], is_snapshot=True, sequence=100))
    assert book.apply(change(7, [], [])) == outcome
