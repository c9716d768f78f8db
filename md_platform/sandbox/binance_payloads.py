"""Binance's words: simulated bars, trades and books in, the fragments that REST and streams share out."""

from md_platform.sandbox.history import Aggregate, Bar, Trade
from md_platform.sandbox.listings import Listing
from md_platform.sandbox.rest import Json


def symbol_of(listing: Listing) -> str:
    """`BTCUSDT`."""
    return listing.base + listing.quote


def decimal(value: float) -> str:
    """Prices, sizes and values all carry eight decimals."""
    return f"{value:.8f}"


def kline_row(bar: Bar) -> list[int | str]:
    """A kline as REST gives it."""
    return [
        bar.open_us // 1_000,
        decimal(bar.open),
        decimal(bar.high),
        decimal(bar.low),
        decimal(bar.close),
        decimal(bar.volume),
        bar.close_us // 1_000 - 1,
        decimal(bar.quote_volume),
        bar.trades,
        decimal(bar.buy_volume),
        decimal(bar.buy_quote_volume),
        "0",
    ]


def trade_row(listing: Listing, trade: Trade) -> Json:
    """A fill as REST gives it."""
    price, size = listing.price(trade.price_ticks), listing.size(trade.lots)
    return {
        "id": trade.id,
        "price": decimal(price),
        "qty": decimal(size),
        "quoteQty": decimal(price * size),
        "time": trade.time_us // 1_000,
        "isBuyerMaker": not trade.is_buy,
        "isBestMatch": True,
    }


def aggregate_row(listing: Listing, trade: Aggregate) -> Json:
    """An aggregate as REST gives it."""
    return {
        "a": trade.id,
        "p": decimal(listing.price(trade.price_ticks)),
        "q": decimal(listing.size(trade.lots)),
        "f": trade.first_id,
        "l": trade.last_id,
        "T": trade.time_us // 1_000,
        "m": not trade.is_buy,
        "M": True,
    }


def symbol_info(listing: Listing, *, halted: bool) -> Json:
    """A symbol in exchangeInfo."""
    step = decimal(10.0**-listing.lot_decimals)
    return {
        "symbol": symbol_of(listing),
        "status": "BREAK" if halted else "TRADING",
        "baseAsset": listing.base,
        "baseAssetPrecision": 8,
        "quoteAsset": listing.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "opoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "pegInstructionsAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": decimal(listing.tick),
                "maxPrice": "1000000.00000000",
                "tickSize": decimal(listing.tick),
            },
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000000.00000000", "stepSize": step},
            {"filterType": "ICEBERG_PARTS", "limit": 10},
            {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": "9000.00000000", "stepSize": step},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
            {
                "filterType": "NOTIONAL",
                "minNotional": "5.00000000",
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }


def book_levels(listing: Listing, levels: dict[int, int], limit: int) -> list[list[str]]:
    """`[price, quantity]` pairs, as REST and streams give them."""
    return [[decimal(listing.price(p)), decimal(listing.size(q))] for p, q in list(levels.items())[:limit]]
