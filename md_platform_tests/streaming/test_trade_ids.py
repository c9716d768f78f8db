"""Which trades are new, and which never came."""

from hypothesis import given
from hypothesis import strategies as st

from md_platform.domain.events import Trade
from streaming.trades import TradeIds, Unusual


def trade(id_: int | str, at: int = 0) -> Trade:
    return Trade("x:A-B", at, at, id_, 1.0, 1.0)


@given(st.lists(st.integers(0, 60), max_size=200))
def test_consecutive_ids_are_new_once_and_what_lies_between_is_missing(order: list[int]) -> None:
    ids = TradeIds(consecutive=True)
    taken = [id_ for n, id_ in enumerate(order) if ids.is_new(trade(id_, n))]

    first = order[0] if order else 0
    assert len(taken) == len(set(taken))
    assert set(taken) == {id_ for id_ in order if id_ >= first}
    missing = {id_ for hole in ids.open_holes(10**9) for id_ in range(hole.first, hole.last + 1)} - set(taken)
    assert missing == set(range(first, max(order, default=0))) - set(order)


@given(st.lists(st.text(max_size=3), max_size=200))
def test_ids_without_order_are_new_once(order: list[str]) -> None:
    ids = TradeIds(consecutive=False)
    assert [id_ for id_ in order if ids.is_new(trade(id_))] == list(dict.fromkeys(order))


def test_a_hole_is_told_once_when_its_time_has_come_and_only_while_it_is_open() -> None:
    ids = TradeIds(consecutive=True)
    for id_, at in ((1, 10), (4, 20), (8, 30)):
        ids.is_new(trade(id_, at))
    assert ids.open_holes(15) == []
    for id_ in (2, 3):
        assert ids.is_new(trade(id_, 40))
    (hole,) = ids.open_holes(100)
    assert (hole.first, hole.last, hole.start_ns, hole.end_ns) == (5, 7, 20, 30)
    assert ids.open_holes(100) == []


def priced(price: float, size: float, *, sent_late: bool = False) -> Trade:
    return Trade("x:A-B", 0, 0, 0, price, size, sent_late=sent_late)


def test_a_jump_in_price_or_size_stands_out_and_what_is_usual_does_not() -> None:
    usual = Unusual()
    assert max(usual.scores([priced(100 + 0.01 * (n % 7), 1 + 0.1 * (n % 5)) for n in range(500)])) < 6
    jumped, after, large = usual.scores([priced(110, 1.2), priced(110.01, 1.2), priced(110.02, 10_000)])
    assert jumped > 100
    assert after < 12
    assert large > 12


@given(
    st.lists(st.tuples(st.floats(1, 1e6), st.floats(1e-6, 1e6), st.booleans()), max_size=120),
    st.integers(1, 30),
)
def test_scores_do_not_depend_on_how_trades_came_together(
    values: list[tuple[float, float, bool]], at_once: int
) -> None:
    trades = [priced(price, size, sent_late=sent_late) for price, size, sent_late in values]
    whole, parts = Unusual(), Unusual()
    pieces = [parts.scores(trades[n : n + at_once]) for n in range(0, len(trades), at_once)]
    assert [score for piece in pieces for score in piece] == whole.scores(trades)
    assert parts == whole


@given(st.lists(st.integers(0, 60), min_size=1, max_size=200), st.integers(1, 30))
def test_ids_are_new_however_they_came_together(order: list[int], at_once: int) -> None:
    one_by_one, together = TradeIds(consecutive=True), TradeIds(consecutive=True)
    trades = [trade(id_, n) for n, id_ in enumerate(order)]
    new = [each for n in range(0, len(trades), at_once) for each in together.new_of(trades[n : n + at_once])]
    assert new == [each for each in trades if one_by_one.is_new(each)]
    assert together.open_holes(10**9) == one_by_one.open_holes(10**9)
