"""An instrument in, what its bars are to be adjusted by out: its corporate actions and the closes before them."""

import datetime as dt

import polars as pl

from md_platform.catalog.corporate_actions import CorporateActions
from md_platform.domain.corporate_actions import Adjustment, CorporateAction, adjustments
from md_platform.domain.intervals import UTC, Interval, Timeframe
from md_platform.serving.bars import BarQuery, Bars

_FIRST = dt.datetime(1970, 1, 1, tzinfo=UTC)


class Adjustments:
    """Reads what adjusts bars. For any number of threads."""

    def __init__(self, actions: CorporateActions, bars: Bars) -> None:
        self._actions = actions
        self._bars = bars

    def of(self, instrument: str, as_of: dt.datetime | None = None) -> tuple[Adjustment, ...]:
        """By all that took effect until `as_of`, or now, as it was known then, oldest first; InvalidCorporateAction."""
        until = as_of or dt.datetime.now(UTC)
        actions = [each for each in self._actions.of(instrument, as_of) if each.ex_time <= until]
        return adjustments(actions, self._closes(instrument, actions, as_of))

    def _closes(
        self, instrument: str, actions: list[CorporateAction], as_of: dt.datetime | None
    ) -> dict[dt.date, float]:
        """The last close before each dividend that has one."""
        dividends = [each for each in actions if each.kind == "dividend" and each.ex_time > _FIRST]
        if not dividends:
            return {}
        days = Interval(_FIRST, dividends[-1].ex_time)
        closes = self._bars.read(BarQuery(instrument, Timeframe.D1, days, as_of)).rows.select("open_time", "close")
        before = pl.DataFrame(
            {"ex_time": [each.ex_time for each in dividends]}, {"ex_time": closes.schema["open_time"]}
        )
        found = before.join_asof(closes, left_on="ex_time", right_on="open_time", allow_exact_matches=False)
        return {
            each.ex_date: close
            for each, close in zip(dividends, found["close"].to_list(), strict=True)
            if close is not None
        }
