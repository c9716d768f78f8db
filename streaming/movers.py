"""The statistics of a day in; what Redis keeps of them, out: fields of `md:latest:{id}`, and the sets that rank.

    md:movers:24h:{QUOTE}   change of each instrument quoted in it: 0.05 is 5 % up
    md:volume:24h:{QUOTE}   what each traded, in the quote currency

Who has not been heard of for RANKED_S leaves the sets; only days without a hole are ranked.
"""

from collections.abc import Mapping

from md_platform.domain.events import DayStatistics
from md_platform.domain.instruments import Instrument

RANKED_S = 600


def latest_fields(day: DayStatistics) -> Mapping[str, float]:
    """Fields of the hash; `ts_24h` is their end, `whole_24h` 0 where bars may be missing. Without volume NaN."""
    return {
        "open_24h": day.open,
        "high_24h": day.high,
        "low_24h": day.low,
        "volume_24h": day.volume,
        "quote_volume_24h": float("nan") if day.quote_volume is None else day.quote_volume,
        "change_24h": day.change,
        "ts_24h": day.at,
        "whole_24h": int(day.is_whole),
    }


def ranks(day: DayStatistics) -> Mapping[str, float]:
    """The score of its instrument, by set."""
    if not day.is_whole:
        return {}
    quote = Instrument.parse(day.instrument).quote
    scores = {f"md:movers:24h:{quote}": day.change}
    return scores if day.quote_volume is None else scores | {f"md:volume:24h:{quote}": day.quote_volume}
