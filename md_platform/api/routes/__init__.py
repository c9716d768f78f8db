"""The routes, one file a topic: each has a `router`, named here once."""

from fastapi import APIRouter

ROUTERS: tuple[APIRouter, ...] = ()
"""Everything under /api/v1."""
