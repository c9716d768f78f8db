import datetime as dt

import pytest

from md_platform.errors import InvalidSetting
from md_platform.settings import KeptFor, load_settings


def test_how_long_live_data_are_kept_is_a_number_and_a_unit():
    assert load_settings({}).kept_for == KeptFor()
    settings = load_settings(
        {"MDP_RETENTION_TICKS": "36h", "MDP_RETENTION_BOOKS": "3d", "MDP_RETENTION_BARS_1M": "4w",
         "MDP_RETENTION_BARS_1D": "20y", "MDP_COLUMNSTORE_TICKS": "6h"}
    )  # fmt: skip
    kept = settings.kept_for
    assert kept.ticks == dt.timedelta(hours=36)
    assert kept.books == dt.timedelta(days=3)
    assert kept.bars_1m == dt.timedelta(days=28)
    assert kept.bars_1d == dt.timedelta(days=7_300)
    assert kept.bars_5m == dt.timedelta(days=1_825)
    assert kept.ticks_columnstore_after == dt.timedelta(hours=6)


@pytest.mark.parametrize("value", ["365", "1 year", "d", "-1d", "1.5y", "3m"])
def test_anything_else_is_refused_by_name(value):
    with pytest.raises(InvalidSetting, match=r"MDP_RETENTION_TICKS: .*a number with h, d, w or y"):
        load_settings({"MDP_RETENTION_TICKS": value})


@pytest.mark.parametrize(("name", "value"), [("TICKS", "1h"), ("BARS_1M", "13d")])
def test_less_than_a_chunk_is_refused(name, value):
    with pytest.raises(InvalidSetting, match=f"MDP_RETENTION_{name}: .*greater than or equal"):
        load_settings({f"MDP_RETENTION_{name}": value})
