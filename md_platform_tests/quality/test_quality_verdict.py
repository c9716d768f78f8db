"""The verdict on a run: failing partitions named, warnings never block, Data Docs readable without a network."""

import datetime as dt
import re
from html.parser import HTMLParser

import pytest
from quality_seeds import CLEAN, MONDAY, expected_of, put, seed

from md_platform.quality import MeasuredPartition, check_names, load_suite, validate
from md_platform.quality.verdict import SAMPLE


@pytest.fixture(scope="module")
def run():
    """Three days of one dataset: a clean one, one with two broken bars and a missing half, one without any file."""
    suite = load_suite("cleaned_bars")
    expected = expected_of("cleaned_bars")
    broken = put("high", 1.0, row=9)(put("high", 1.0)(seed("cleaned_bars", "expected_present")))
    return suite, [
        MeasuredPartition("binance:BTC-USDT", MONDAY, suite.measure(CLEAN["cleaned_bars"](), expected)),
        MeasuredPartition("binance:ETH-USDT", MONDAY, suite.measure(broken, expected)),
        MeasuredPartition("binance:ETH-USDT", MONDAY + dt.timedelta(days=1), suite.measure(None, expected)),
    ]


def test_failing_partitions_are_named_by_check(run):
    suite, partitions = run
    verdict = validate(suite, partitions, run_id="r1")
    assert (verdict.dataset, verdict.partitions, verdict.data_docs) == ("cleaned_bars", 3, None)
    assert (verdict.passed, verdict.blocks) == (False, True)
    checks = verdict.checks()
    assert list(checks) == list(check_names("cleaned_bars"))
    ohlc = checks["ohlc"]
    assert (ohlc.passed, ohlc.severity) == (False, "error")
    assert ohlc.failing == ("binance:ETH-USDT 2024-01-01",)
    assert ohlc.description == "high is at least open; high is at least close; high is at least low"
    high = next(result for result in ohlc.expectations if result.id == "high_not_below_open")
    assert (high.violations, high.failing_partitions) == (2, 1)
    assert high.type == "expect_column_pair_values_a_to_be_greater_than_b"
    completeness = checks["completeness"]
    assert (completeness.passed, completeness.severity, completeness.violations) == (False, "warning", 720 + 1440)
    assert completeness.failing == ("binance:ETH-USDT 2024-01-01", "binance:ETH-USDT 2024-01-02")
    assert checks["keys"].passed
    assert checks["keys"].severity == "error"


def test_warnings_do_not_block(run):
    suite, partitions = run
    verdict = validate(suite, [partitions[0], partitions[2]], run_id="r2")
    assert (verdict.passed, verdict.blocks) == (False, False)


@pytest.mark.parametrize("partitions", [[], [0]])
def test_a_run_without_violations_passes(run, partitions):
    suite, measured = run
    verdict = validate(suite, [measured[n] for n in partitions], run_id="r3")
    assert verdict.passed
    assert all(check.passed and not check.failing for check in verdict.checks().values())


def test_a_long_list_of_failing_partitions_is_sampled_and_counted(run):
    suite, (_, broken, _) = run
    many = [
        MeasuredPartition(broken.instrument, MONDAY + dt.timedelta(days=n), broken.measurement)
        for n in range(SAMPLE + 5)
    ]
    result = next(e for e in validate(suite, many, run_id="r4").expectations if e.id == "high_not_below_low")
    assert len(result.failing) == SAMPLE
    assert (result.failing_partitions, result.violations) == (SAMPLE + 5, 2 * (SAMPLE + 5))


class Page(HTMLParser):
    """Text, links and everything that a browser would load."""

    def __init__(self, path):
        super().__init__()
        self.text, self.links, self.loads = "", [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "a":
            self.links.append(found.get("href", ""))
        elif tag in ("script", "link", "img", "iframe"):
            self.loads.append((tag, found))

    def handle_data(self, data):
        self.text += data


def test_data_docs_show_every_dataset_of_the_run_and_load_nothing(run, tmp_path):
    suite, partitions = run
    docs = tmp_path / "data_docs" / "run-7"
    verdict = validate(suite, partitions, run_id="run-7", docs=docs)
    trades = load_suite("cleaned_trades")
    clean = trades.measure(CLEAN["cleaned_trades"](), expected_of("cleaned_trades"))
    validate(trades, [MeasuredPartition("binance:BTC-USDT", MONDAY, clean)], run_id="run-7", docs=docs)
    assert verdict.data_docs == docs / "index.html"

    index = Page(verdict.data_docs)
    assert "run-7" in index.text
    assert "critical: ohlc: high is at least open" in index.text
    assert "every expectation is met" in index.text
    assert {link for link in index.links if not (docs / link).is_file()} == set()
    assert {"cleaned_bars.html", "cleaned_trades.html", "cleaned_bars.suite.html"} <= set(index.links)

    validation = Page(docs / "cleaned_bars.html")
    assert "Expectation Validation Result" in validation.text
    assert "high_not_below_open" in validation.text
    assert re.search(r"binance:ETH-USDT\s*,?", validation.text)
    assert "index.html" in validation.links
    contract = Page(docs / "cleaned_bars.suite.html")
    assert "no bar with trades spans a range too many robust standard deviations wide" in contract.text

    for page in docs.glob("*.html"):
        shown = Page(page)
        assert shown.loads == []
        local = {link for link in shown.links if link and not link.startswith(("#", "https://"))}
        assert {link for link in local if not (docs / link).is_file()} == set()
        assert "url(" not in re.sub(r"url\(data:", "", page.read_text(encoding="utf-8"))
    assert sum(file.stat().st_size for file in docs.rglob("*")) < 1_000_000
