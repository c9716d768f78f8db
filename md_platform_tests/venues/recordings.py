"""Real captures of every venue that is streamed in; the same as `mdp stream --record` would have written them out.

Captures of other venues (Bitget, BitMEX, Deribit, FTX, Gate, HitBTC, Kraken Futures, OKCoin, Upbit, Hyperliquid) are
not among them.
"""

import datetime as dt
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec

from md_platform.domain.events import Channel
from md_platform.domain.instruments import Instrument
from md_platform.storage.captures import CaptureWriter, Record
from md_platform.venues import (
    VENUES,
    binance_feed,
    binance_futures_feed,
    bitfinex,
    bitstamp,
    bybit,
    bybit_2021_feed,
    coinbase_2021_feed,
    coinbase_feed,
    gemini,
    htx,
    kraken_feed,
    kraken_v1_feed,
    kucoin,
    okx,
)
from md_platform.venues.feeds import Feed
from md_platform_tests.venues.corpus import CORPORA, instrument_of, natives_known
from md_platform_tests.venues.replay import SHARED, capture, hftbacktest

_VENUE_OF = {feed.name: spec.id for spec in VENUES for feed in spec.feeds}
_KRAKEN_V2 = SHARED / "ws" / "kraken_v2" / "kraken_minagbp_d25_20260816.ndjson"


@dataclass(frozen=True)
class Recording:
    """One capture: its feeds as its client had asked, and the native symbols that each carried.

    Without `natives` they are those that the facts know of. `channels` None: all of the feed.
    """

    name: str
    protocol: str
    feeds: tuple[Feed, ...]
    natives: tuple[tuple[str, ...], ...] = ()
    channels: frozenset[Channel] | None = None
    read: Callable[[str], Iterator[Record]] = capture

    @cached_property
    def carried(self) -> list[tuple[Feed, dict[str, Instrument]]]:
        """Each feed with what it carried, by native symbol as the facts write it."""
        natives = self.natives or (tuple(natives_known(self.name)),) * len(self.feeds)
        return [
            (feed, {symbol: _named(feed, symbol) for symbol in symbols})
            for feed, symbols in zip(self.feeds, natives, strict=True)
        ]

    @cached_property
    def books_asked(self) -> Mapping[str, Instrument]:
        """Whose book each address of a REST answer is, in the addresses that we ask today."""
        return {
            _address(feed, instrument): instrument
            for feed, instruments in self.carried
            for instrument in instruments.values()
            if feed.snapshot_request is not None
        }

    def records(self) -> Iterator[Record]:
        """Its records, connections named as ours are, books at the addresses of `books_asked`, no other answers."""
        names: dict[str, str] = {}
        numbers = itertools.count()
        for record in self.read(self.name):
            if record.t == "connect":
                feed = next((each for each in self.feeds if record.addr in each.urls), self.feeds[0])
                names[record.conn] = f"{feed.name}-{next(numbers)}"
            if record.t != "http":
                yield msgspec.structs.replace(record, conn=names[record.conn])
            elif (address := self._book_at(record.url)) is not None:
                yield msgspec.structs.replace(record, url=address)

    def _book_at(self, url: str) -> str | None:
        parts = urlsplit(url)
        if not any(name in parts.path for name in ("depth", "orderbook", "order_book")):
            return None
        feed, instruments = self.carried[0]
        named = {*parse_qs(parts.query).get("symbol", ()), parts.path.rstrip("/").rpartition("/")[2]}
        each = next((i for i in instruments.values() if i.native in named), next(iter(instruments.values())))
        return _address(feed, each)

    def write(self, folder: Path) -> None:
        """Write it into `folder` as one capture of ours."""
        described = [
            {
                "feed": feed.name,
                "channel": channel,
                "instrument": each.id,
                "native": each.native,
                "book_depth": feed.book.depth,
            }
            for feed, instruments in self.carried
            for each in instruments.values()
            for channel in sorted(self.channels or feed.channels)
        ]
        writer = CaptureWriter(folder, "capture", {"subscriptions": described})
        for record in self.records():
            writer.write(record)
        writer.close()


def _named(feed: Feed, native: str) -> Instrument:
    """By letters and digits alone, as ids are; a perpetual where the feed takes no other."""
    told = instrument_of(_VENUE_OF[feed.name], native)
    base, quote = (re.sub(r"[^A-Z0-9]", "", part.upper()) for part in (told.base, told.quote))
    spot = replace(told, base=base, quote=quote)
    return spot if feed.accepts(spot) else replace(spot, is_perpetual=True)


def _address(feed: Feed, instrument: Instrument) -> str:
    assert feed.snapshot_request is not None
    request = feed.snapshot_request(instrument)
    return f"{request.path}?{urlencode(dict(request.params))}"


def _of_depth(feed: Feed, levels: int) -> Feed:
    return replace(feed, book=replace(feed.book, depth=levels))


def _kraken_v2(_name: str) -> Iterator[Record]:
    """Frames as text, whose digits make the checksums; times from the header's and the clock of the frames."""
    head, *lines = _KRAKEN_V2.read_text().splitlines()
    began = dt.datetime.fromisoformat(msgspec.json.decode(head)["captured_at"]).timestamp()
    yield Record("connect", "1", began, addr=kraken_feed.V2.urls[0])
    first_ns = msgspec.json.decode(lines[0])["rx_ns"]
    for line in lines:
        stamp, is_frame, frame = line.partition('"frame": ')
        if is_frame and '"dir"' not in stamp:
            received_s = began + (msgspec.json.decode(line)["rx_ns"] - first_ns) / 1e9
            yield Record("recv", "1", received_s, data=frame[:-1])


def _bitstamp(name: str) -> Iterator[Record]:
    """Each book behind the first of its changes: the client asked before it had read any, ours asks then."""
    asked: dict[str, Record] = {}
    for record in capture(name):
        if "/order_book/" in record.url:
            asked[f'"diff_order_book_{record.url.rpartition("/")[2]}"'] = record
            continue
        yield record
        if record.t == "recv" and '"event":"data"' in record.data:
            yield from (asked.pop(channel) for channel in list(asked) if channel in record.data)


def _asked_matches(name: str) -> tuple[str, ...]:
    """Products whose matches the client of a KuCoin capture asked."""
    topic = next(r.data for r in capture(name) if r.t == "send" and "/market/match:" in r.data)
    return tuple(msgspec.json.decode(topic)["topic"].partition(":")[2].split(","))


def _asked_depth(name: str) -> tuple[str, ...]:
    """Symbols whose books the client of an HTX capture asked."""
    asked = (msgspec.json.decode(r.data)["sub"] for r in capture(name) if r.t == "send" and '"sub"' in r.data)
    return tuple(sorted({topic.split(".")[1] for topic in asked}))


def _asked_best(name: str, product: str) -> tuple[str, ...]:
    """Symbols whose books of one level the client of a Bybit capture asked."""
    sent = ((r.addr, r.data) for r in capture(name) if r.t == "send")
    return tuple(data.split("orderbook.1.")[1].split('"')[0] for addr, data in sent if addr.endswith(product))


def recordings() -> list[Recording]:
    """Every capture of a venue that is streamed; none where the data are not beside the checkout."""
    if not SHARED.exists():
        return []
    spot, coinm = binance_feed.SPOT, binance_futures_feed.COINM
    usdm = replace(binance_futures_feed.USDM, channels=spot.channels)  # one address carried all until 2026
    best = "BYBIT_20250613T165111"
    linear = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT")
    kucoins = ("KUCOIN_20210423T000204", "KUCOIN_20210425T191845_first8s")
    htxs = {"HUOBI_20210417T164749_first8s": htx.SPOT, "HUOBI_LINEAR_SWAP_20220217T202714": htx.LINEAR}
    old = _natives_by_quote("BYBIT_20210417T164305")
    return [
        *(
            Recording(name, "Binance spot", (spot,))
            for name in ("BINANCE_20210404T200310", "BINANCE_20210814T144634", "BINANCE_20211012T002831")
        ),
        Recording("BINANCE_US_20210814T144513", "Binance.US", (spot,)),
        Recording("BINANCE_FUTURES_20210722T222540", "Binance USD-M", (usdm,)),
        Recording("BINANCE_DELIVERY_20210722T011322", "Binance COIN-M", (coinm,)),
        Recording("spot/btcusdt_20240808", "Binance spot", (spot,), (("BTCUSDT",),), read=hftbacktest),
        Recording("usdm/ethusdt_20240808", "Binance USD-M", (usdm,), (("ETHUSDT",),), read=hftbacktest),
        Recording("cm/ethusd_perp_20240808", "Binance COIN-M", (coinm,), (("ETHUSD_PERP",),), read=hftbacktest),
        Recording("BITFINEX_20210417T163903", "Bitfinex v2", bitfinex.BITFINEX.feeds),
        Recording(
            "BITSTAMP_20220105T004810",
            "Bitstamp v2",
            bitstamp.BITSTAMP.feeds,
            (CORPORA["bitstamp"].natives,),
            read=_bitstamp,
        ),
        Recording("BYBIT_20210417T164305", "Bybit 2021", (bybit_2021_feed.LINEAR, bybit_2021_feed.INVERSE), old),
        Recording(
            best, "Bybit v5", (bybit.LINEAR, bybit.SPOT), (_asked_best(best, "linear"), _asked_best(best, "spot"))
        ),
        Recording(
            "BYBIT_20260809T212657_first8s",
            "Bybit v5",
            (bybit.LINEAR, bybit.SPOT),
            (linear, linear[:2]),
        ),
        Recording("COINBASE_20210417T164336_products_A", "Coinbase Pro", (coinbase_2021_feed.PRO,)),
        Recording(
            "COINBASE_20260809T210548_first3s",
            "Coinbase Advanced",
            (coinbase_feed.ADVANCED,),
            (CORPORA["coinbase"].natives,),
        ),
        Recording(
            "GEMINI_20210624T001416",
            "Gemini v2",
            gemini.GEMINI.feeds,
            (tuple(map(str.upper, CORPORA["gemini"].natives)),),
        ),
        *(
            Recording(name, f"HTX {feed.name[4:] or 'spot'}", (feed,), (_asked_depth(name),))
            for name, feed in htxs.items()
        ),
        Recording("KRAKEN_20210417T164852", "Kraken v1", (_of_depth(kraken_v1_feed.V1, 1_000),)),
        Recording(
            "kraken_v2/minagbp_20260816",
            "Kraken v2",
            (_of_depth(kraken_feed.V2, 25),),
            (("MINA/GBP",),),
            frozenset({"book"}),
            _kraken_v2,
        ),
        *(Recording(name, "KuCoin", (kucoin.FEED,), (_asked_matches(name),)) for name in kucoins),
        Recording("OKX_20220513T162316", "OKX v5", (okx.PUBLIC,)),
    ]


def _natives_by_quote(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Symbols of the facts: those in USDT, then the others."""
    known = natives_known(name)
    return tuple(n for n in known if n.endswith("USDT")), tuple(n for n in known if not n.endswith("USDT"))
