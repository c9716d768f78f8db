"""Limits on a real Redis: shared by processes, and what holds while it is away."""

import asyncio

import pytest

from md_platform.access.principal import ANONYMOUS, Principal, Tier
from md_platform.access.rates import FAILURES_PER_MINUTE, Rates
from md_platform.errors import TooManyRequests

TWO = Principal("bot", "reader", frozenset(), Tier("small", 1, 1, requests_per_minute=2))


def test_two_processes_share_one_limit(redis_url: str):
    async def take() -> None:
        one, other = Rates(redis_url), Rates(redis_url)
        first = await one.take(TWO)
        assert first is not None
        assert (first.limit, first.remaining) == (2, 1)
        assert 0 < first.reset_s <= 60
        await other.take(TWO)
        for each in (one, other):
            with pytest.raises(TooManyRequests, match="tier small has 2 requests a minute") as refused:
                await each.take(TWO)
            assert 1 <= refused.value.retry_after_s <= 60

    asyncio.run(take())


def test_a_tier_without_limit_is_not_counted(redis_url: str):
    assert asyncio.run(Rates(redis_url).take(ANONYMOUS)) is None


def test_while_redis_is_away_each_process_counts_for_itself():
    async def take() -> None:
        rates = Rates("redis://127.0.0.1:1/0")
        assert rates.mode == "SHARED"
        await rates.take(TWO)
        assert rates.mode == "PER_PROCESS"
        await rates.take(TWO)
        with pytest.raises(TooManyRequests):
            await rates.take(TWO)
        await rates.require_few_failures("address")

    asyncio.run(take())


def test_an_address_may_be_wrong_so_often(redis_url: str):
    async def fail() -> None:
        rates = Rates(redis_url)
        for _ in range(FAILURES_PER_MINUTE):
            await rates.require_few_failures("a")
            await rates.failed("a")
        with pytest.raises(TooManyRequests):
            await rates.require_few_failures("a")
        await rates.require_few_failures("b")

    asyncio.run(fail())
