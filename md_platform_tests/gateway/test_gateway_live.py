"""Live data through a gateway: subscriptions, numbers, filters, encodings, notices, history before it, resuming."""

import asyncio
import json
import time

import msgspec
import pytest
from websockets.asyncio.client import connect

from md_platform.domain.events import Bar, Book, FeedNotice, Quote
from md_platform_tests.gateway.speaking import ID, TRADES, Client, Publisher, connected, running, trade

OTHER = "sandbox:ETH-USDT"
BAR = Bar(ID, "1m", 0, 60, 1.0, 2.0, 0.5, 1.5, 3.0, 4.5, 2, 1.0, 1.5, True, "trades", 0, 61)


async def subscribed(client: Client, channel: str = "trades", **request) -> dict[str, int]:
    request = {"instruments": [ID], **request}
    await client.ask("subscribe", channel=channel, id=1, **request)
    return (await client.next("subscribed"))["channels"]


def test_messages_come_in_order_with_numbers_and_notices_among_them(redis_url):
    async def main():
        publisher = Publisher(redis_url)
        async with running(redis_url) as port, connected(port) as client:
            assert (await client.next("welcome"))["principal"] == "anonymous"
            numbers = await subscribed(client)
            notice = FeedNotice("gap", "sandbox", "f", "c", 5, channels=["trades"], instruments=[ID])
            elsewhere = FeedNotice("gap", "sandbox", "f", "c", 5, channels=["trades"], instruments=[OTHER])
            await publisher.say(trade(1), notice, elsewhere, trade(2, OTHER), trade(3))
            await client.until(lambda: len(client.ids) == 2)
            first, said, second = client.messages[-3:]
            assert (first["type"], said["type"], second["type"]) == ("data", "notice", "data")
            assert said["data"][0][1] == "gap"
            assert said["channel"] == first["channel"] == TRADES
            assert second["seq"] == first["seq"] + 1
            assert numbers == {TRADES: first["seq"] - 1} or numbers == {TRADES: 0}
            assert client.ids == [1, 3]

    asyncio.run(main())


def test_every_kind_of_channel_and_many_instruments_in_one_message(redis_url):
    async def main():
        publisher = Publisher(redis_url)
        async with running(redis_url) as port, connected(port) as client:
            await subscribed(client, instruments=[ID, OTHER])
            await subscribed(client, "bars", timeframe="1m")
            await subscribed(client, "quotes")
            await subscribed(client, "book")
            await subscribed(client, "events", instruments=[])
            book = Book(ID, 5, 6, [(100.0, 1.0)], [(101.0, 2.0)])
            notice = FeedNotice("connected", "kraken", "f", "c", 5)
            await publisher.say(trade(1), trade(2, OTHER), BAR, Quote(ID, 3, 4, 1.0, 1.0, 2.0, 2.0), book, notice)
            await client.until(lambda: len(client.told("data")) == 6)
            assert {message["channel"] for message in client.told("data")} == {
                TRADES,
                f"trades:{OTHER}",
                f"bars:{ID}:1m",
                f"quotes:{ID}",
                f"book:{ID}",
                "events",
            }
            await client.ask("unsubscribe", channel="trades", instruments=[OTHER])
            assert (await client.next("unsubscribed"))["channels"] == [f"trades:{OTHER}"]
            await client.ask("unsubscribe", channel="quotes")
            assert (await client.next("unsubscribed"))["channels"] == [f"quotes:{ID}"]
            await publisher.say(trade(3, OTHER), trade(4))
            await client.until(lambda: 4 in client.ids)
            assert 3 not in client.ids
            await client.ask("subscribe", channel="trades", instruments=["sandbox:*"])
            assert set((await client.next("subscribed"))["channels"]) == {TRADES, f"trades:{OTHER}"}
            async with connected(port) as late:
                await subscribed(late, "book", last=1)
                assert (await late.next("history"))["data"][0] == json.loads(msgspec.json.encode(book))

    asyncio.run(main())


def test_filters_leave_out_events_and_fields(redis_url):
    async def main():
        publisher = Publisher(redis_url)
        async with running(redis_url) as port, connected(port) as client:
            await subscribed(client, filters={"min_volume": 2, "min_quality": 0.5, "fields": ["trade_id", "size"]})
            await publisher.say(trade(1), trade(2, size=3.0), trade(3, size=3.0, quality=0.1), trade(4, size=2.0))
            await client.until(lambda: len(client.told("data")) == 2)
            assert [message["data"] for message in client.told("data")] == [
                [{"trade_id": 2, "size": 3.0}],
                [{"trade_id": 4, "size": 2.0}],
            ]

    asyncio.run(main())


@pytest.mark.parametrize("options", [{"subprotocols": ["md.v1.msgpack"]}, {"query": "?encoding=msgpack"}])
def test_msgpack_by_subprotocol_or_query(redis_url, options):
    async def main():
        publisher = Publisher(redis_url)
        async with running(redis_url) as port:
            url = f"ws://127.0.0.1:{port}/{options.pop('query', '')}"
            async with connect(url, **options) as connection:
                request = {"op": "subscribe", "channel": "trades", "instruments": [ID]}
                await connection.send(msgspec.msgpack.encode(request))
                kinds = [msgspec.msgpack.decode(await connection.recv())["type"] for _ in range(2)]
                assert kinds == ["welcome", "subscribed"]
                await publisher.say(trade(1))
                message = msgspec.msgpack.decode(await connection.recv())
                assert (message["channel"], message["data"][0][4]) == (TRADES, 1)

    asyncio.run(main())


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_compressed_or_not_it_is_the_same(redis_url, compression):
    async def main():
        publisher = Publisher(redis_url)
        async with running(redis_url) as port, connected(port, compression=compression) as client:
            await publisher.say(*map(trade, range(50)))
            await subscribed(client, last=50)
            await client.next("history")
            assert client.ids == list(range(50))

    asyncio.run(main())


def test_mistakes_are_answered_and_harm_nothing(redis_url):
    async def main():
        async with running(redis_url) as port, connected(port) as client:
            for request, code in (
                ({"op": "subscribe", "channel": "nothing"}, "bad_request"),
                ({"op": "subscribe", "channel": "trades"}, "invalid_parameter"),
                ({"op": "subscribe", "channel": "trades", "instruments": ["?"], "id": 7}, "unknown_instrument"),
                ({"op": "subscribe", "channel": "bars", "instruments": [ID], "timeframe": "7m"}, "invalid_timeframe"),
                ({"op": "subscribe", "channel": "events", "instruments": [ID]}, "invalid_parameter"),
                ({"op": "subscribe", "channel": "trades", "instruments": [ID], "last": -1}, "invalid_parameter"),
                ({"op": "subscribe", "channel": "trades", "instruments": [ID], "since": "soon"}, "invalid_range"),
                ({"op": "subscribe", "channel": "trades", "instruments": ["none:*"]}, "invalid_parameter"),
                (
                    {"op": "subscribe", "channel": "trades", "instruments": [ID], "filters": {"fields": ["bid"]}},
                    "invalid_parameter",
                ),
                ({"op": "pause"}, "invalid_parameter"),
            ):
                await client.connection.send(json.dumps(request))
                answer = await client.next("error")
                assert (answer["code"], answer.get("id")) == (code, request.get("id")), request
            await client.ask("ping", id="x")
            assert abs((await client.next("pong"))["at"] - time.time_ns()) < 60e9

    asyncio.run(main())


def test_history_comes_first_then_what_came_meanwhile_each_once(redis_url):
    async def main():
        publisher = Publisher(redis_url)
        since = time.time_ns()
        await publisher.say(*map(trade, range(100)))

        async def publish():
            for number in range(100, 1_000):
                await publisher.say(trade(number))

        async with running(redis_url) as port:
            publishing = asyncio.create_task(publish())
            async with connected(port) as by_count, connected(port) as by_time:
                await subscribed(by_count, last=40)
                await subscribed(by_time, since=since - 1)
                await by_count.until(lambda: by_count.ids and by_count.ids[-1] == 999)
                await by_time.until(lambda: by_time.ids and by_time.ids[-1] == 999)
                await publishing
                first = by_count.ids[0]
                assert by_count.ids == list(range(first, 1_000))
                assert len(by_count.told("history")[0]["data"]) == 40
                assert by_time.ids == list(range(1_000))

    asyncio.run(main())


def test_the_last_trades_are_the_newest_though_older_ones_were_published_later(redis_url):
    """As when history has filled a hole: more trades at once than were asked for."""

    async def main():
        publisher = Publisher(redis_url)
        old = [trade(number) for number in range(50)]
        await publisher.say(*map(trade, range(50, 100)))
        for each in old:
            each.sent_late = True
        await publisher.say(*old)
        async with running(redis_url) as port, connected(port) as client:
            await subscribed(client, last=10)
            await client.next("history")
            assert client.ids == list(range(90, 100))

    asyncio.run(main())


def test_who_was_away_resumes_and_is_told_what_the_tail_no_longer_has(redis_url):
    async def main():
        publisher = Publisher(redis_url, kept=100)
        async with running(redis_url) as port:
            async with connected(port) as client:
                await subscribed(client)
                await publisher.say(trade(0))
                seq = (await client.next("data"))["seq"]
            await publisher.say(*map(trade, range(1, 50)))
            async with connected(port) as again:
                await subscribed(again, resume={TRADES: seq})
                await publisher.say(trade(50))
                await again.until(lambda: 50 in again.ids)
                assert again.ids == list(range(1, 51))
                assert [m["seq"] for m in again.told("data")] == list(range(seq + 1, seq + 51))
            for start in range(51, 1_051, 100):
                await publisher.say(*map(trade, range(start, start + 100)))
            async with connected(port) as late:
                await subscribed(late, resume={TRADES: seq})
                gap = await late.next("gap")
                await late.until(lambda: 1_050 in late.ids)
                assert gap["first"] == seq + 1
                assert late.told("data")[0]["seq"] == gap["last"] + 1
                assert late.ids == list(range(late.ids[0], 1_051))

    asyncio.run(main())


def test_the_market_summary_comes_each_second(redis_url):
    async def main():
        publisher = Publisher(redis_url)
        await publisher.say(trade(1))
        await publisher.client.zadd("md:movers:24h:USDT", {ID: 0.05})
        await publisher.client.zadd("md:volume:24h:USDT", {ID: 12.5})
        async with running(redis_url) as port, connected(port) as client:
            await subscribed(client, "market-summary", instruments=[])
            (summary,) = (await client.next("data"))["data"]
            assert summary["gainers"] == [{"instrument": ID, "value": 0.05}]
            assert summary["volume_leaders"][0]["value"] == 12.5

    asyncio.run(main())
