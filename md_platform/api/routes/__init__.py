"""The routes, one file a topic: each has a `router`, named here once."""

from fastapi import APIRouter

from md_platform.api.routes import (
    alerts,
    backfills,
    bars,
    charts,
    corporate_actions,
    datasets,
    exports,
    indicators,
    ingest,
    instruments,
    keys,
    platform,
    prices,
    quality,
    runs,
    statistics,
    tickets,
    trades,
    udf,
)

ROUTERS: tuple[APIRouter, ...] = (
    instruments.router,
    corporate_actions.router,
    prices.router,
    bars.router,
    trades.router,
    statistics.router,
    indicators.router,
    udf.router,
    datasets.router,
    quality.router,
    backfills.router,
    runs.router,
    exports.router,
    ingest.router,
    alerts.router,
    tickets.router,
    platform.router,
    charts.router,
    keys.router,
)
"""Everything under /api/v1."""
