"""Keys, tokens and tickets on a real database and Redis: who is let in, and until when."""

import base64
import datetime as dt
import hashlib
import hmac
import json
import time
from collections.abc import Iterator

import jwt
import psycopg
import pytest
import redis
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from md_platform.access import authenticator as module
from md_platform.access.authenticator import Authenticator
from md_platform.access.config import AccessConfig, JwtConfig, tiers_with
from md_platform.access.keys import Keys
from md_platform.access.principal import ANONYMOUS, Tier
from md_platform.access.revocations import announce
from md_platform.errors import (
    Forbidden,
    InvalidParameter,
    InvalidSetting,
    NotAuthenticated,
    NotFound,
    SourceUnavailable,
)
from md_platform.storage.migrate import migrate
from md_platform_tests.local_server import Answer, serving
from md_platform_tests.waiting import eventually

ENTERPRISE = Tier("enterprise", 5_000, 500, 5_000)
SECRET = "0123456789abcdef0123456789abcdef"
JWT = JwtConfig("secret", SECRET, issuer="https://issuer", audience="md-platform")


def access(jwt_config: JwtConfig | None = JWT, *, is_open: bool = False) -> AccessConfig:
    return AccessConfig(is_open, tiers_with(ENTERPRISE), jwt_config)


@pytest.fixture
def keys(database_url: str) -> Keys:
    migrate(database_url)
    return Keys(database_url)


@pytest.fixture
def authenticator(keys: Keys, database_url: str, redis_url: str) -> Iterator[Authenticator]:
    with Authenticator(access(), database_url, redis_url) as opened:
        eventually(lambda: opened._revocations is not None and opened._revocations.is_connected, 10)
        yield opened


def claims(**changes: object) -> dict[str, object]:
    now = dt.datetime.now(dt.UTC)
    given = {
        "sub": "alice",
        "iss": "https://issuer",
        "aud": "md-platform",
        "exp": now + dt.timedelta(minutes=5),
        "role": "trader",
        "scope": "market live",
        "tier": "premium",
        **changes,
    }
    return {name: value for name, value in given.items() if value is not None}


def test_a_key_lets_in_whom_it_was_made_for(keys: Keys, authenticator: Authenticator):
    key, text = keys.create("bot", "trader", scopes=("market",), tier="enterprise")
    principal = authenticator.authenticate(text)
    assert (principal.name, principal.role, principal.scopes) == ("bot", "trader", {"market"})
    assert principal.tier == ENTERPRISE
    assert authenticator.remembered(text) == principal
    assert keys.list() == [key]


def test_the_secret_is_stored_as_an_argon2_hash_only(keys: Keys, database_url: str):
    _, text = keys.create("bot", "reader")
    with psycopg.connect(database_url) as connection:
        stored = str(connection.execute("SELECT * FROM md.api_keys").fetchall())
    assert "$argon2id$" in stored
    assert text.rpartition("_")[2] not in stored


@pytest.mark.parametrize(
    "wrong", [None, "", "mdp_", "mdp_000000000000_" + 48 * "0", "mdt_nothing", "not.a.token", "\udcff"]
)
def test_wrong_credentials_let_nobody_in(authenticator: Authenticator, wrong: str | None):
    with pytest.raises(NotAuthenticated):
        authenticator.authenticate(wrong)


def test_another_secret_of_a_known_key_lets_nobody_in(keys: Keys, authenticator: Authenticator):
    _, text = keys.create("bot", "reader")
    authenticator.authenticate(text)
    with pytest.raises(NotAuthenticated):
        authenticator.authenticate(text[:-1] + ("0" if text[-1] != "0" else "1"))


def test_an_expired_key_lets_nobody_in_though_it_was_remembered(keys: Keys, authenticator: Authenticator):
    _, text = keys.create("bot", "reader", lifetime=dt.timedelta(seconds=1))
    authenticator.authenticate(text)
    time.sleep(1.1)
    assert authenticator.remembered(text) is None
    with pytest.raises(NotAuthenticated, match="expired"):
        authenticator.authenticate(text)


def test_a_revoked_key_is_forgotten_at_once(keys: Keys, authenticator: Authenticator, redis_url: str):
    key, text = keys.create("bot", "reader")
    other, other_text = keys.create("other", "reader")
    authenticator.authenticate(text)
    authenticator.authenticate(other_text)
    keys.revoke(key.id)
    with redis.Redis.from_url(redis_url) as client:
        assert announce(client, key.id)
    eventually(lambda: authenticator.remembered(text) is None, 10)
    with pytest.raises(NotAuthenticated):
        authenticator.authenticate(text)
    assert authenticator.remembered(other_text) is not None
    assert [each.revoked_at is None for each in keys.list() if each.id == other.id] == [True]


def test_while_redis_is_away_keys_are_remembered_for_seconds_only(
    keys: Keys, database_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "KEPT_WITHOUT_REDIS_S", 0.2)
    key, text = keys.create("bot", "reader")
    with Authenticator(access(), database_url, "redis://127.0.0.1:1/0") as alone:
        alone.authenticate(text)
        keys.revoke(key.id)
        time.sleep(0.3)
        with pytest.raises(NotAuthenticated):
            alone.authenticate(text)


def test_revoking_nothing_is_an_error(keys: Keys):
    with pytest.raises(NotFound, match="no API key nope"):
        keys.revoke("nope")


@pytest.mark.parametrize(
    ("name", "role", "scopes", "tier"),
    [
        ("Bad Name", "reader", (), "free"),
        ("a:b", "reader", (), "free"),
        ("a", "root", (), "free"),
        ("a", "reader", ("x y",), "free"),
        ("a", "reader", (), "gold"),
    ],
)
def test_what_cannot_be_given_is_refused(keys: Keys, name: str, role: str, scopes: tuple[str, ...], tier: str):
    with pytest.raises(InvalidParameter):
        keys.create(name, role, scopes=scopes, tier=tier)  # type: ignore[arg-type]


def test_a_token_says_who_it_is_for(authenticator: Authenticator):
    token = jwt.encode(claims(), SECRET, algorithm="HS256")
    principal = authenticator.authenticate(token)
    assert (principal.name, principal.role, principal.scopes) == ("jwt:alice", "trader", {"market", "live"})
    assert principal.tier.name == "premium"


PAST = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": PAST},
        {"exp": None},
        {"nbf": dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)},
        {"iss": "https://other"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"sub": None},
        {"role": "root"},
        {"tier": "unlimited"},
        {"scope": ["market"]},
    ],
)
def test_a_token_that_is_not_right_in_every_claim_lets_nobody_in(
    authenticator: Authenticator, changes: dict[str, object]
):
    with pytest.raises(NotAuthenticated):
        authenticator.authenticate(jwt.encode(claims(**changes), SECRET, algorithm="HS256"))


def test_a_token_without_signature_or_with_another_algorithm_lets_nobody_in(authenticator: Authenticator):
    for token in (
        jwt.encode(claims(), None, algorithm="none"),
        jwt.encode(claims(), SECRET * 2, algorithm="HS512"),
        jwt.encode(claims(), "x" * 32, algorithm="HS256"),
    ):
        with pytest.raises(NotAuthenticated):
            authenticator.authenticate(token)


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def public_pem(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def test_a_public_key_checks_rs256_and_is_no_shared_secret(
    keys: Keys, database_url: str, redis_url: str, rsa_key: rsa.RSAPrivateKey
):
    pem = public_pem(rsa_key)
    config = JwtConfig("public_key", pem, "https://issuer", "md-platform")
    with Authenticator(access(config), database_url, redis_url) as checker:
        assert checker.authenticate(jwt.encode(claims(), rsa_key, algorithm="RS256")).name == "jwt:alice"
        forged = _hs256_with(pem)
        with pytest.raises(NotAuthenticated):
            checker.authenticate(forged)


def _hs256_with(pem: str) -> str:
    """A token signed with the text of a public key, as if that were a secret: PyJWT itself refuses to make one."""

    def part(content: dict[str, object]) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(content, default=lambda at: at.timestamp()).encode()).rstrip(b"=")

    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims())
    signature = hmac.new(pem.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def test_keys_come_from_a_url_and_are_kept(keys: Keys, database_url: str, redis_url: str, rsa_key: rsa.RSAPrivateKey):
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key.public_key(), as_dict=True) | {"kid": "k1", "use": "sig"}

    with serving(lambda _asked: Answer(json.dumps({"keys": [jwk]}).encode())) as server:
        config = JwtConfig("jwks_url", f"{server.url}/jwks", "https://issuer", "md-platform")
        with Authenticator(access(config), database_url, redis_url) as checker:
            for name in ("alice", "bob"):
                token = jwt.encode(claims(sub=name), rsa_key, algorithm="RS256", headers={"kid": "k1"})
                assert checker.authenticate(token).name == f"jwt:{name}"
            assert len(server.asked) == 1
            with pytest.raises(NotAuthenticated):
                checker.authenticate(jwt.encode(claims(), rsa_key, algorithm="RS256", headers={"kid": "other"}))


def test_keys_that_cannot_be_fetched_are_said_to_be_away(
    keys: Keys, database_url: str, redis_url: str, rsa_key: rsa.RSAPrivateKey
):
    config = JwtConfig("jwks_url", "http://127.0.0.1:1/jwks", "https://issuer", "md-platform")
    with Authenticator(access(config), database_url, redis_url) as checker, pytest.raises(SourceUnavailable):
        checker.authenticate(jwt.encode(claims(), rsa_key, algorithm="RS256", headers={"kid": "k1"}))


def test_a_short_secret_is_refused():
    with pytest.raises(InvalidSetting, match="32 bytes"):
        JwtConfig("secret", "short", "https://issuer", "md-platform")


def test_a_ticket_stands_for_its_principal_once(keys: Keys, authenticator: Authenticator, redis_url: str):
    _, text = keys.create("bot", "trader", scopes=("market",))
    principal = authenticator.authenticate(text)
    ticket = authenticator.tickets.issue(principal)
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        (name,) = client.scan_iter("md:ticket:*")
        assert ticket not in name
        assert 25 <= client.ttl(name) <= 30
    assert authenticator.authenticate(ticket) == principal
    with pytest.raises(NotAuthenticated, match="used before"):
        authenticator.authenticate(ticket)


def test_an_open_platform_asks_nobody(keys: Keys, database_url: str, redis_url: str):
    with Authenticator(access(is_open=True), database_url, redis_url) as door:
        assert door.authenticate(None) is ANONYMOUS
        assert door.authenticate("anything") is ANONYMOUS


def test_roles_and_scopes(keys: Keys, authenticator: Authenticator):
    _, text = keys.create("bot", "trader", scopes=("market",))
    principal = authenticator.authenticate(text)
    principal.require("reader")
    principal.require("trader", "market")
    with pytest.raises(Forbidden, match="role admin"):
        principal.require("admin", "market")
    with pytest.raises(Forbidden, match="scope exports"):
        principal.require("reader", "exports")
