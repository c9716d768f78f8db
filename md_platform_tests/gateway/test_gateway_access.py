"""Who may connect, how they say who they are, and what their tier allows."""

import asyncio
import datetime as dt
from collections.abc import Iterator

import psycopg
import pytest
from websockets.exceptions import ConnectionClosed

from md_platform.access.audit import Audit
from md_platform.access.authenticator import Authenticator
from md_platform.access.config import AccessConfig, tiers_with
from md_platform.access.keys import Keys
from md_platform.access.principal import Tier
from md_platform.access.revocations import announce
from md_platform.domain.events import Alert
from md_platform.storage.migrate import migrate
from md_platform_tests.gateway.speaking import ID, Client, Publisher, connected, running, trade


@pytest.fixture
def authenticator(database_url: str, redis_url: str) -> Iterator[Authenticator]:
    migrate(database_url)
    tiers = tiers_with(Tier("enterprise", 5_000, 500, 5_000))
    with Authenticator(AccessConfig(is_open=False, tiers=tiers), database_url, redis_url) as opened:
        yield opened


@pytest.fixture
def key(authenticator: Authenticator, database_url: str) -> str:
    return Keys(database_url).create("alice", "reader", tier="free")[1]


def test_a_key_by_header_by_first_message_or_a_ticket_once(redis_url, database_url, authenticator, key):
    async def main(audit):
        async with running(redis_url, authenticator=authenticator, audit=audit) as port:
            for headers in ({"Authorization": f"Bearer {key}"}, {"X-API-Key": key}):
                async with connected(port, additional_headers=headers) as client:
                    assert (await client.next("welcome"))["principal"] == "alice"
                    await client.ask("subscribe", id=1, channel="trades", instruments=[ID])
                    await client.next("subscribed")
            async with connected(port) as client:
                assert (await client.next("welcome"))["principal"] == ""
                await client.ask("authenticate", id=1, credential=key)
                assert (await client.next("welcome"))["principal"] == "alice"
                await client.next("done")
            ticket = authenticator.tickets.issue(authenticator.authenticate(key))
            async with connected(port, f"?ticket={ticket}") as client:
                assert (await client.next("welcome"))["principal"] == "alice"
            async with connected(port, f"?ticket={ticket}") as client:
                assert (await client.next("error"))["code"] == "not_authenticated"

    with Audit(database_url, dt.timedelta(days=1)) as audit:
        asyncio.run(main(audit))
    with psycopg.connect(database_url) as connection:
        query = (
            "SELECT principal, action, target, status, address FROM md.audit_log WHERE service = 'gateway' ORDER BY at"
        )
        rows = connection.execute(query).fetchall()
    here = "127.0.0.1"
    asked = [("alice", "authenticate", "", 200, here), ("alice", "subscribe", f"trades {ID}", 200, here)]
    assert rows == [*asked, *asked, asked[0], asked[0], (None, "authenticate", "", 401, here)]


@pytest.mark.parametrize("how", ["nothing", "wrong header", "wrong message"])
def test_who_is_nobody_gets_nothing_and_is_closed(redis_url, authenticator, how):
    async def main():
        wrong = "mdp_0123456789ab_" + "0" * 48
        headers = {"Authorization": f"Bearer {wrong}"} if how == "wrong header" else {}
        async with (
            running(redis_url, authenticator=authenticator) as port,
            connected(port, additional_headers=headers) as client,
        ):
            if how == "wrong message":
                await client.ask("authenticate", credential=wrong)
            elif how == "nothing":
                await client.ask("subscribe", channel="trades", instruments=[ID])
            assert (await client.next("error"))["code"] == "not_authenticated"
            with pytest.raises(ConnectionClosed):
                await client.next("subscribed")
            assert client.connection.close_code == 1008

    asyncio.run(main())


async def is_ended(client: Client) -> None:
    assert (await client.next("error"))["code"] == "not_authenticated"
    with pytest.raises(ConnectionClosed):
        await client.next("pong")
    assert client.connection.close_code == 1008


@pytest.mark.parametrize("how", ["header", "ticket"])
def test_a_connection_ends_when_its_key_is_revoked(redis_url, database_url, authenticator, key, how):
    other = Keys(database_url).create("bob", "reader")[1]

    async def main():
        principal = authenticator.authenticate(key)
        query = f"?ticket={authenticator.tickets.issue(principal)}" if how == "ticket" else ""
        headers = {"X-API-Key": key} if how == "header" else {}
        async with (
            running(redis_url, authenticator=authenticator) as port,
            connected(port, query, additional_headers=headers) as revoked,
            connected(port, additional_headers={"X-API-Key": other}) as stays,
        ):
            for client in (revoked, stays):
                await client.next("welcome")
            Keys(database_url).revoke(principal.key_id)
            announce(authenticator._redis, principal.key_id)
            await is_ended(revoked)
            await stays.ask("ping")
            await stays.next("pong")

    asyncio.run(main())


def test_a_connection_ends_when_its_key_was_revoked_while_redis_was_away(redis_url, database_url, authenticator, key):
    async def main():
        async with (
            running(redis_url, authenticator=authenticator) as port,
            connected(port, additional_headers={"X-API-Key": key}) as client,
        ):
            await client.next("welcome")
            Keys(database_url).revoke(authenticator.authenticate(key).key_id)  # nobody is told
            authenticator._redis.client_kill_filter(_type="pubsub")
            await is_ended(client)

    asyncio.run(main())


def test_a_connection_ends_when_its_key_expires(redis_url, database_url, authenticator):
    short = Keys(database_url).create("short", "reader", lifetime=dt.timedelta(seconds=1))[1]

    async def main():
        async with (
            running(redis_url, authenticator=authenticator) as port,
            connected(port, additional_headers={"X-API-Key": short}) as client,
        ):
            await client.next("welcome")
            await is_ended(client)

    asyncio.run(main())


def test_a_key_with_other_scopes_gets_no_live_data(redis_url, database_url, authenticator):
    narrow = Keys(database_url).create("narrow", "admin", scopes=("market",))[1]

    async def main():
        async with (
            running(redis_url, authenticator=authenticator) as port,
            connected(port, additional_headers={"X-API-Key": narrow}) as client,
        ):
            refused = await client.next("error")
            assert (refused["code"], "scope live" in refused["message"]) == ("forbidden", True)
            await client.ask("subscribe", channel="trades", instruments=[ID])
            await is_ended(client)

    asyncio.run(main())


@pytest.mark.parametrize("slow", ["close", "conflate"])
def test_a_tier_bounds_instruments_and_messages(redis_url, authenticator, key, slow):
    async def main():
        publisher = Publisher(redis_url)
        async with (
            running(redis_url, authenticator=authenticator) as port,
            connected(port, f"?slow={slow}", additional_headers={"X-API-Key": key}) as client,
        ):
            instruments = [f"sandbox:C{n}-USD" for n in range(11)]
            await client.ask("subscribe", id=1, channel="trades", instruments=instruments)
            assert (await client.next("error"))["code"] == "too_large"
            await client.ask("subscribe", id=2, channel="trades", instruments=instruments[:10])
            await client.next("subscribed")
            for number in range(300):
                await publisher.say(trade(number, instruments[0]))
            assert (await client.next("error"))["code"] == "too_many_messages"
            if slow == "close":
                with pytest.raises(ConnectionClosed):
                    await client.next("pong")
                assert client.ids == list(range(100)) or len(client.ids) < 200  # the second may have changed
                assert client.connection.close_code == 1008
            else:
                await client.until(lambda: client.ids[-1] == 299)
                skipped = sum(message["skipped"] for message in client.told("conflated"))
                assert len(client.ids) + skipped == 300

    asyncio.run(main())


def test_alerts_go_to_their_owner_and_to_admins(redis_url, database_url, authenticator, key):
    root = Keys(database_url).create("root", "admin", tier="premium")[1]
    fired = [
        Alert(n, "rule", owner, "price", ID, "low", "above 1", 2.0, 1_700_000_000_000_000_000 + n)
        for n, owner in enumerate(("bob", "alice", "bob"), 1)
    ]

    async def main():
        publisher = Publisher(redis_url)
        async with running(redis_url, authenticator=authenticator) as port:
            for credential, owners in ((key, ["alice"]), (root, ["bob", "alice", "bob"])):
                async with connected(port, additional_headers={"X-API-Key": credential}) as client:
                    await client.ask("subscribe", id=1, channel="alerts")
                    await client.next("subscribed")
                    await publisher.say(*fired)
                    got = [(await client.next("data"))["data"] for _ in owners]
                    assert [event[3] for events in got for event in events] == owners

    asyncio.run(main())
