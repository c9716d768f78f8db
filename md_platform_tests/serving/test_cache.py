"""The cache: made once, by whomever; without Redis made anew."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest
import redis

from md_platform.errors import StorageUnavailable
from md_platform.serving.cache import Cache
from md_platform.serving.market import redis_client

FRAME = pl.DataFrame({"a": [1, 2], "b": ["x", None]})


class Maker:
    def __init__(self):
        self.made = 0

    def __call__(self) -> pl.DataFrame:
        self.made += 1
        time.sleep(0.1)
        return FRAME


def test_a_cold_key_is_made_once_by_many_threads_of_two_processes(redis_url):
    caches, make = [Cache(redis_client(redis_url)) for _ in range(2)], Maker()
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda n: caches[n % 2].frame("t", "key", 60, make), range(40)))
    assert make.made == 1
    assert all(each.equals(FRAME) for each in found)
    assert Cache(redis_client(redis_url)).frame("t", "key", 60, make).equals(FRAME)
    assert make.made == 1


def test_another_version_or_a_later_time_is_another_key(redis_url):
    cache, make = Cache(redis_client(redis_url)), Maker()
    for key in ("v1", "v2"):
        cache.frame("t", key, 0.2, make)
    time.sleep(0.3)
    cache.frame("t", "v1", 0.2, make)
    assert make.made == 3


def test_without_redis_each_process_makes_its_own():
    cache, make = Cache(redis.Redis(port=1, socket_connect_timeout=0.2, retry=None)), Maker()
    assert cache.frame("t", "key", 60, make).equals(FRAME)
    assert cache.frame("t", "key", 60, make).equals(FRAME)
    assert make.made == 1


def test_what_was_asked_for_longest_ago_is_forgotten_first():
    make = Maker()
    cache = Cache(None, most_bytes=2 * int(FRAME.estimated_size()))
    for key in ("a", "b", "a", "c", "a"):
        cache.frame("t", key, 60, make)
    assert make.made == 3
    cache.frame("t", "b", 60, make)
    assert make.made == 4


def test_an_error_reaches_all_who_wait_and_the_next_one_tries_again(redis_url):
    cache, fails = Cache(redis_client(redis_url)), threading.Event()

    def make() -> pl.DataFrame:
        time.sleep(0.1)
        if fails.is_set():
            return FRAME
        raise StorageUnavailable("away")

    def ask(_: int) -> str:
        with pytest.raises(StorageUnavailable):
            cache.frame("t", "key", 60, make)
        return "told"

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == ["told"] * 4
    fails.set()
    assert cache.frame("t", "key", 60, make).equals(FRAME)
