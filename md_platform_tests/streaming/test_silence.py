"""When a channel that says nothing counts as stalled."""

from streaming.link import Silence

LEAST_S = 30.0


def spoken(*pauses_s: float) -> Silence:
    silence, now = Silence(0.0), 0.0
    for pause_s in pauses_s:
        now += pause_s
        silence.broken(now)
    return silence


def test_a_busy_channel_stalls_as_soon_as_it_may():
    assert spoken(*[0.1] * 100).allowed_s(LEAST_S) == LEAST_S


def test_a_market_that_trades_in_bursts_is_not_taken_for_dead():
    burst = [0.1] * 20
    assert spoken(*burst, 60.0, *burst).allowed_s(LEAST_S) > 120


def test_of_a_channel_that_spoke_a_few_times_nobody_knows():
    assert spoken(0.1, 0.1, 0.1).allowed_s(LEAST_S) > 600


def test_one_long_pause_is_forgotten():
    assert spoken(300.0, *[0.1] * 1_000).allowed_s(LEAST_S) == LEAST_S
