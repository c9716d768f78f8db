"""Alerts: rules, and what they fired."""

import datetime as dt
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from md_platform.access.principal import Principal
from md_platform.alerts.conditions import Condition, require_possible
from md_platform.alerts.rules import Severity, Wish
from md_platform.alerts.webhooks import require_webhook
from md_platform.api.config import ApiConfig
from md_platform.api.dependencies import ConfigOf, StoresOf, trader
from md_platform.api.stores import Stores

router = APIRouter(tags=["alerts"])

Id = Annotated[str, Path(max_length=32, pattern=r"^[0-9a-f]*$", examples=["1f0c3a5e9b7d4c2f8a6e0d1b3c5f7a9e"])]
Owner = Annotated[Principal, trader("alerts")]


class NewRule(BaseModel):
    """A rule: when its condition begins to hold, it fires, and not again within the cooldown."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "bitcoin leaves its range",
                    "instrument": "sandbox:BTC-USDT",
                    "condition": {"kind": "price", "compare": "crosses", "value": 100_000},
                    "severity": "high",
                    "cooldown_s": 60,
                }
            ]
        },
    )

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
    instrument: (
        Annotated[
            str, Field(max_length=100, pattern=r"^[^\x00]*$", description="any of its names; null: of every feed")
        ]
        | None
    ) = None
    condition: Condition
    severity: Severity = "medium"
    cooldown_s: Annotated[int, Field(ge=0, le=30 * 86_400)] = 0
    webhook_url: Annotated[str, Field(max_length=2_000, pattern=r"^[^\x00]*$")] | None = None
    webhook_secret: (
        Annotated[
            str,
            Field(min_length=16, max_length=200, pattern=r"^[^\x00]*$", description="signs what it gets; never shown"),
        ]
        | None
    ) = None
    is_enabled: bool = True


class RuleInfo(BaseModel):
    """A rule as it stands."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    owner: str
    name: str
    instrument: str | None
    condition: Condition
    severity: Severity
    cooldown_s: int
    webhook_url: str | None
    is_enabled: bool
    last_fired_at: dt.datetime | None
    created_at: dt.datetime


class FiredInfo(BaseModel):
    """An alert that fired; a dead webhook was tried for the last time."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    rule_id: str
    owner: str
    name: str
    instrument: str | None
    severity: Severity
    message: str = Field(examples=["price 100012.5 crosses 100000"])
    value: float | None
    at: dt.datetime
    fired_at: dt.datetime
    webhook_state: Literal["none", "waiting", "delivered", "dead"]
    webhook_attempts: int
    webhook_error: str | None


@router.post("/alerts", status_code=201)
def add(body: NewRule, stores: StoresOf, config: ConfigOf, principal: Owner) -> RuleInfo:
    """Add a rule. It looks at what comes from now on."""
    rule = stores.operations.alerts.add(principal.name, _wish(body, stores, config))
    return RuleInfo.model_validate(rule)


@router.get("/alerts")
def rules(stores: StoresOf, principal: Owner) -> list[RuleInfo]:
    """Your rules, oldest first; an admin's are everybody's."""
    return [RuleInfo.model_validate(each) for each in stores.operations.alerts.all(_owner(principal))]


@router.get("/alerts/{id}")
def rule(id: Id, stores: StoresOf, principal: Owner) -> RuleInfo:  # noqa: A002 - in the address
    """One rule."""
    return RuleInfo.model_validate(stores.operations.alerts.get(id, _owner(principal)))


@router.put("/alerts/{id}")
def change(
    id: Id,  # noqa: A002 - in the address
    body: NewRule,
    stores: StoresOf,
    config: ConfigOf,
    principal: Owner,
) -> RuleInfo:
    """Change a rule: it begins anew. Without a secret the old one stays."""
    changed = stores.operations.alerts.change(id, _owner(principal), _wish(body, stores, config))
    return RuleInfo.model_validate(changed)


@router.delete("/alerts/{id}", status_code=204)
def remove(id: Id, stores: StoresOf, principal: Owner) -> None:  # noqa: A002 - in the address
    """Remove a rule; what it fired stays."""
    stores.operations.alerts.remove(id, _owner(principal))


@router.get("/fired-alerts")
def fired(
    stores: StoresOf,
    principal: Owner,
    rule: Annotated[str, Query(max_length=32, pattern=r"^[0-9a-f]*$", description="of this rule only")] = "",
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> list[FiredInfo]:
    """What fired, newest first, with how its webhook fared."""
    found = stores.operations.alerts.fired(_owner(principal), rule or None, limit)
    return [FiredInfo.model_validate(each) for each in found]


def _owner(principal: Principal) -> str | None:
    return None if principal.role == "admin" else principal.name


def _wish(body: NewRule, stores: Stores, config: ApiConfig) -> Wish:
    instrument = None if body.instrument is None else stores.market.names.resolve(body.instrument).id
    require_possible(body.condition, instrument)
    if body.webhook_url is not None:
        require_webhook(body.webhook_url, allows_private=config.allows_private_webhooks)
    given = {name: getattr(body, name) for name in NewRule.model_fields}
    return Wish(**{**given, "instrument": instrument})
