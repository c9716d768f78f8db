"""Every route of the application × every kind of credential: a new route is in it without being named here."""

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import jwt
import pytest

from md_platform.access import rates
from md_platform.access.config import JwtConfig
from md_platform.access.keys import Keys
from md_platform.access.principal import ROLES
from md_platform.api.app import roles
from md_platform.api.dependencies import Requires
from md_platform.storage.migrate import migrate
from md_platform_tests.api_server import Served, served, stores_of
from md_platform_tests.scripted_dagster import ended, scripted_dagster

SECRET = "0123456789abcdef0123456789abcdef"
JWT = JwtConfig("secret", SECRET, issuer="https://issuer", audience="md-platform")
REFUSED = (401, 403)


@dataclass(frozen=True)
class Door:
    """An API that asks who it is, and headers to come with."""

    api: Served
    credentials: Mapping[str, Mapping[str, str]]

    def status(self, method: str, path: str, credential: str) -> int:
        """What an empty request gets; parameters of the path are dummies. The body, which may have no end, is not read."""
        url = re.sub(r"{[^}]+}", "nothing", path)
        with self.api.client.stream(method, url, headers=self.credentials[credential]) as answer:
            return answer.status_code


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, module_database_url: str, module_redis_url: str) -> Iterator[Door]:
    migrate(module_database_url)
    keys = Keys(module_database_url)
    expired, expired_text = keys.create("expired", "admin", lifetime=dt.timedelta(microseconds=1))
    revoked, revoked_text = keys.create("revoked", "admin")
    keys.revoke(revoked.id)
    texts = {role: keys.create(f"a-{role}", role, tier="enterprise")[1] for role in ROLES}
    narrow = keys.create("narrow", "admin", scopes=("nothing",), tier="enterprise")[1]
    credentials = {
        "none": {},
        "nonsense": _bearer("nonsense"),
        "unknown": _bearer(f"mdp_{12 * '0'}_{48 * '0'}"),
        "wrong secret": _bearer(f"mdp_{expired.id}_{48 * '0'}"),
        "expired": _bearer(expired_text),
        "revoked": _bearer(revoked_text),
        "expired token": _bearer(_token(dt.timedelta(hours=-1))),
        "forged token": _bearer(_token(secret="x" * 32)),
        "used ticket": _bearer("mdt_used"),
        "other scope": _bearer(narrow),
        **{role: _bearer(text) for role, text in texts.items()},
        "key header": {"x-api-key": texts["admin"]},
        "token": _bearer(_token()),
    }
    folder = tmp_path_factory.mktemp("matrix")
    with pytest.MonkeyPatch.context() as patch, scripted_dagster(ended) as dagster:
        patch.setattr(rates, "FAILURES_PER_MINUTE", 1_000_000)
        stores = stores_of(
            folder, module_database_url, module_redis_url, is_open=False, jwt=JWT, dagster_port=dagster.port
        )
        with served(stores) as running:
            yield Door(running, credentials)


def _bearer(credential: str) -> dict[str, str]:
    return {"authorization": f"Bearer {credential}"}


def _token(lifetime: dt.timedelta = dt.timedelta(hours=1), secret: str = SECRET) -> str:
    claims = {"sub": "alice", "iss": JWT.issuer, "aud": JWT.audience, "exp": dt.datetime.now(dt.UTC) + lifetime}
    return jwt.encode({**claims, "role": "admin", "tier": "enterprise"}, secret, algorithm="HS256")


BAD = [
    "none",
    "nonsense",
    "unknown",
    "wrong secret",
    "expired",
    "revoked",
    "expired token",
    "forged token",
    "used ticket",
]


@pytest.mark.parametrize("credential", BAD)
def test_without_a_valid_credential_every_route_asks_for_one(door: Door, credential: str):
    wrong = {
        (method, path): status
        for (method, path), needs in roles(door.api.app).items()
        if ((status := door.status(method, path, credential)) == 401) != isinstance(needs, Requires)
    }
    assert wrong == {}


@pytest.mark.parametrize("role", [*ROLES, "key header", "token"])
def test_each_role_gets_in_where_it_may_and_nowhere_else(door: Door, role: str):
    rank = ROLES.index(role) if role in ROLES else len(ROLES) - 1
    wrong = {}
    for (method, path), needs in roles(door.api.app).items():
        may = not isinstance(needs, Requires) or ROLES.index(needs.role) <= rank
        status = door.status(method, path, role)
        if status == 429 or status >= 500 or (status in REFUSED) == may or (not may and status != 403):
            wrong[method, path] = status
    assert wrong == {}


def test_a_key_with_other_scopes_gets_in_nowhere(door: Door):
    wrong = {
        (method, path): status
        for (method, path), needs in roles(door.api.app).items()
        if isinstance(needs, Requires) and (status := door.status(method, path, "other scope")) != 403
    }
    assert wrong == {}


def test_the_description_of_the_api_has_every_route_and_its_security(door: Door):
    described = door.api.client.get("/api/v1/openapi.json").json()["paths"]
    page = ("/", "/favicon.ico", "/web/{version}/{name}")  # files for browsers are no part of the API
    for (method, path), needs in roles(door.api.app).items():
        if path in page:
            continue
        operation = described[path][method.lower()]
        assert ("security" in operation) == isinstance(needs, Requires), (method, path)


def test_what_a_request_must_have_is_described_by_an_example(door: Door):
    description = door.api.client.get("/api/v1/openapi.json").json()
    schemas = description["components"]["schemas"]
    assert [name for name in schemas if "__" in name] == []
    bare = [
        (path, method, parameter["name"])
        for path, operations in description["paths"].items()
        for method, operation in operations.items()
        for parameter in operation.get("parameters", [])
        if parameter["required"] and not {"examples", "enum", "minimum"} & {*parameter["schema"], *parameter}
    ]
    assert bare == []
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            body = json.dumps(operation.get("requestBody", {}))
            for name in re.findall(r"#/components/schemas/(\w+)", body):
                assert "example" in json.dumps(schemas[name]), (path, method, name)


def test_a_refusal_says_how_to_come_in(door: Door):
    answer = door.api.client.post("/api/v1/tickets")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["type"] == "urn:md-platform:not-authenticated"


def test_guessing_is_slowed_down(door: Door, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rates, "FAILURES_PER_MINUTE", 1)
    headers = _bearer("mdp_guess")
    statuses = {door.api.client.post("/api/v1/tickets", headers=headers).status_code for _ in range(3)}
    assert 429 in statuses
    assert door.status("POST", "/api/v1/tickets", "admin") == 201  # who is known is not held up
