"""A validation result of Great Expectations in, its Data Docs as static pages out.

The pages are rendered by Great Expectations; what they would load from other hosts (styles, scripts, a logo) is left
out for one style sheet of our own, so that they read the same without a network. Its site builder is not used: it
copies 4 MB of images beside every run and fills its index by a script from a CDN.
"""

import html
import json
import re
from pathlib import Path
from typing import Any

import great_expectations as gx
from great_expectations.render.renderer import ExpectationSuitePageRenderer, ValidationResultsPageRenderer
from great_expectations.render.view import DefaultJinjaPageView

from md_platform.quality.contract import Suite
from md_platform.storage.lake import storage_errors

_STYLE = Path(__file__).with_name("data_docs.css")
_LOADED = re.compile(r"<script\b.*?</script>|<link\b[^>]*>|<style\b.*?</style>|<img\b[^>]*>", re.DOTALL)
_HOME = re.compile(r"""href=["'](?:\.\./)+index\.html["']""")
_CONTRACT = re.compile(r"""href=["'](?:\.\./)+expectations/[^"']*["']""")


def write_data_docs(suite: Suite, result: Any, docs: Path) -> Path:  # noqa: ANN401 - untyped in Great Expectations
    """Write the pages of one dataset into `docs`, the folder of one run, and its index anew; returns the index.

    `index.html` lists every dataset validated into the folder; `<dataset>.html` is its validation,
    `<dataset>.suite.html` its contract and `<dataset>.json` what the index says of it.
    """
    summary = {
        "dataset": suite.name,
        "passed": bool(result.success),
        "run": result.meta["run_id"].run_name,
        "failed": [
            {
                "severity": outcome.expectation_config.severity.value,
                "description": outcome.expectation_config.description,
            }
            for outcome in result.results
            if not outcome.success
        ],
        "expectations": len(result.results),
    }
    contract = gx.ExpectationSuite(**json.loads(suite.text))
    view = DefaultJinjaPageView()
    validation = view.render(ValidationResultsPageRenderer(run_info_at_end=True).render(result))
    declared = view.render(ExpectationSuitePageRenderer().render(contract))
    with storage_errors(docs):
        docs.mkdir(parents=True, exist_ok=True)
        for page, rendered in ((f"{suite.name}.html", validation), (f"{suite.name}.suite.html", declared)):
            (docs / page).write_text(_standing_alone(rendered, suite.name), encoding="utf-8")
        (docs / f"{suite.name}.json").write_text(json.dumps(summary, indent=2), encoding="utf-8")
        summaries = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(docs.glob("*.json"))]
        index = docs / "index.html"
        index.write_text(_index(summaries), encoding="utf-8")
    return index


def _standing_alone(page: str, dataset: str) -> str:
    """The page with our style sheet for what it would load, and its links to pages beside it."""
    style = f"<style>{_STYLE.read_text(encoding='utf-8')}</style></head>"
    page = _CONTRACT.sub(f'href="{dataset}.suite.html"', _HOME.sub('href="index.html"', _LOADED.sub("", page)))
    return page.replace("</head>", style, 1)


def _index(summaries: list[dict[str, Any]]) -> str:
    rows = "".join(
        "<tr><td><i class='{icon}'></i>{status}</td><td><a href='{name}.html'>{name}</a></td><td>{failed}</td>"
        "<td><a href='{name}.suite.html'>{count} expectations</a></td></tr>".format(
            icon="fa-check-circle" if summary["passed"] else "fa-times",
            status="met" if summary["passed"] else "failed",
            name=html.escape(summary["dataset"]),
            failed="<br>".join(
                f"{html.escape(failed['severity'])}: {html.escape(failed['description'])}"
                for failed in summary["failed"]
            )
            or "every expectation is met",
            count=summary["expectations"],
        )
        for summary in summaries
    )
    run = html.escape(summaries[0]["run"])
    return (
        f"<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>Data Docs of run {run}</title>"
        f"<style>{_STYLE.read_text(encoding='utf-8')}</style></head><body><main class='container-fluid'>"
        f"<h1>Data Docs</h1><p>Run {run}. Each dataset was validated by Great Expectations.</p><table class='table'>"
        f"<thead><tr><th>Status</th><th>Dataset</th><th>What failed</th><th>Contract</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></main></body></html>\n"
    )
