"""The application in, its OpenAPI description out, with the problem that every route may answer."""

from typing import Any

from fastapi import FastAPI

from md_platform.api.problems import Problem


def describe(app: FastAPI) -> None:
    """Have `app` describe problems among its schemas: FastAPI itself takes models for `application/json` only."""
    as_fastapi_does = app.openapi

    def openapi() -> dict[str, Any]:
        description = as_fastapi_does()
        schemas = description.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema()
        return description

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend it
