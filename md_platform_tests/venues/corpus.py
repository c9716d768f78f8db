"""Real frames of every feed that has captures, and the instruments they are about: what the fuzz tests begin from.

A feed that is not in `CORPORA` is fuzzed with frames that are nobody's.
"""

import gzip
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from md_platform.domain.instruments import Instrument
from md_platform.venues import VENUES
from md_platform.venues.feeds import Feed
from md_platform_tests.venues.replay import FACTS, SHARED, capture, rows

_FRAMES = 400
_LONGEST = 4_000
"""Frames of whole books are left out: what mutates in them is in the short ones too."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Captures (or other files below ws/) and the native symbols in them; none: those that the facts know of.

    `examples` are frames as the venue's documentation has them, of what no capture holds.
    """

    captures: tuple[str, ...]
    natives: tuple[str, ...] = ()
    examples: tuple[bytes, ...] = ()


_OKX_CANDLE = b'"arg":{"channel":"candle1m","instId":"BTC-USDT"}'
_OKX_CANDLES = (
    b'{"event":"subscribe",%b,"connId":"a4d3ae55"}' % _OKX_CANDLE,
    b'{%b,"data":[["1597026360000","8533.02","8553.74","8527.17","8548.26","45","529.5","5529.5","0"]]}' % _OKX_CANDLE,
    b'{%b,"data":[["1597026360000","8533.02","8553.74","8527.17","8548.26","45","529.5","5529.5","1"]]}' % _OKX_CANDLE,
)

CORPORA = {
    "binance": Corpus(("BINANCE_20210404T200310",)),
    "binance-usdm": Corpus(("BINANCE_FUTURES_20210722T222540",)),
    "binance-usdm-market": Corpus(("BINANCE_FUTURES_20210722T222540",)),
    "binance-coinm": Corpus(("BINANCE_DELIVERY_20210722T011322",)),
    "bitfinex": Corpus(("BITFINEX_20210417T163903",)),
    "bitstamp": Corpus(
        ("BITSTAMP_20220105T004810",),
        ("sgbeur", "ethusd", "xrpeur", "bateur", "usdteur", "usdtusd", "xlmgbp", "adaeur", "batbtc", "galaeur"),
    ),
    "bybit": Corpus(("BYBIT_20260809T212657_first8s",)),
    "bybit-inverse": Corpus(("BYBIT_20260809T212657_first8s",)),
    "bybit-inverse-2021": Corpus(("BYBIT_20210417T164305",)),
    "bybit-linear": Corpus(("BYBIT_20260809T212657_first8s",)),
    "bybit-linear-2021": Corpus(("BYBIT_20210417T164305",)),
    "coinbase": Corpus(("COINBASE_20260809T210548_first3s",), ("BTC-USD", "ETH-USD")),
    "coinbase-2021": Corpus(("COINBASE_20210417T164336_products_A",)),
    "gemini": Corpus(
        ("GEMINI_20210624T001416",),
        ("btcgbp", "linketh", "filusd", "zecltc", "batbtc", "etheur", "ltceth", "grtusd", "ankrusd", "alcxusd"),
    ),
    "htx": Corpus(("HUOBI_20210417T164749_first8s",)),
    "htx-linear": Corpus(("HUOBI_LINEAR_SWAP_20220217T202714",)),
    "htx-inverse": Corpus(("HUOBI_LINEAR_SWAP_20220217T202714",)),
    "kraken": Corpus(("kraken_v2/kraken_minagbp_d25_20260816.ndjson",), ("MINA/GBP",)),
    "kraken-v1": Corpus(("KRAKEN_20210417T164852",)),
    "kucoin": Corpus(("KUCOIN_20210425T191845_first8s",)),
    "okx": Corpus(("OKX_20220513T162316",)),
    "okx-candles": Corpus((), ("BTC-USDT",), _OKX_CANDLES),
}
CORPORA |= {f"sandbox-{name}": CORPORA[name] for name in ("coinbase", "kraken")} | {"sandbox": CORPORA["binance"]}


def feeds() -> list[tuple[str, Feed]]:
    """Every feed, with its venue's id."""
    return [(spec.id, feed) for spec in VENUES for feed in spec.feeds]


def instruments(venue: str, feed: Feed) -> list[Instrument]:
    """What the frames of `feed` are about; one that is nobody's where it has none."""
    corpus = CORPORA.get(feed.name)
    if corpus is None or not SHARED.exists():
        return [Instrument(venue, "BTC", "USD", "BTCUSD")]
    natives = corpus.natives or natives_known(corpus.captures[0])
    return [instrument_of(venue, native) for native in natives]


def natives_known(name: str) -> list[str]:
    """Symbols that the facts know of in the capture `name`."""
    books = json.loads((FACTS / "final_books.json").read_text()).get(name, {})
    return sorted({*books, *(row["symbol"] for row in rows(f"{name}.trades"))})


def instrument_of(venue: str, native: str) -> Instrument:
    """Names with a separator are what they say, others stand for themselves."""
    base, slash, quote = (part.replace("XBT", "BTC") for part in native.replace("-", "/").partition("/"))
    return Instrument(venue, base, quote, native) if slash else Instrument(venue, native, "X", native)


@cache
def frames(name: str) -> tuple[bytes, ...]:
    """Frames of the feed `name`: of each kind some, kinds being told apart by their words."""
    corpus = CORPORA.get(name)
    if corpus is None or not SHARED.exists():
        return (b'{"channel":"trades","data":[1,"2",null]}',)
    if corpus.examples:
        return corpus.examples
    kinds: dict[bytes, list[bytes]] = {}
    for capture_name in corpus.captures:
        for frame in _frames(capture_name):
            if len(frame) <= _LONGEST:
                kinds.setdefault(b"".join(re.findall(rb"[a-zA-Z_]{2,}", frame[:400])), []).append(frame)
    each = max(3, _FRAMES // len(kinds))
    return tuple(frame for of_kind in kinds.values() for frame in of_kind[:each])


def _frames(name: str) -> Iterator[bytes]:
    if name.endswith(".gz"):
        with gzip.open(SHARED / "ws" / name, "rb") as file:
            yield from (line.partition(b" ")[2].rstrip() for line in io.BufferedReader(file))
    elif "/" in name:
        for line in (SHARED / "ws" / name).read_bytes().splitlines():
            head, is_frame, frame = line.partition(b'"frame": ')
            if is_frame and b'"dir"' not in head:
                yield frame[:-1]
    else:
        yield from (record.payload for record in capture(name) if record.t == "recv")
