"""The routes, one file a topic: each has a `router`, named here once."""

from fastapi import APIRouter

from md_platform.api.routes import tickets

ROUTERS: tuple[APIRouter, ...] = (tickets.router,)
"""Everything under /api/v1."""
