"""What the settings say about access, for the entry points that serve; `mdp token`."""

# Imports stand inside of the commands, as the package's docstring explains.
# ruff: noqa: PLC0415

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from md_platform.access.config import AccessConfig, JwtConfig
    from md_platform.access.keys import Key, Keys
    from md_platform.settings import Settings

app = typer.Typer(help="API keys: make, revoke and list them.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def access_config(settings: "Settings") -> "AccessConfig":
    """Who may ask, as `settings` say; InvalidSetting where they contradict each other."""
    from md_platform.access.config import AccessConfig, tiers_with
    from md_platform.access.principal import Tier

    enterprise = Tier(
        "enterprise",
        messages_per_s=settings.enterprise_messages_per_s,
        symbols=settings.enterprise_symbols,
        requests_per_minute=settings.enterprise_requests_per_minute,
    )
    return AccessConfig(settings.auth == "open", tiers_with(enterprise), _jwt_config(settings))


def _jwt_config(settings: "Settings") -> "JwtConfig | None":
    from md_platform.access.config import JwtConfig
    from md_platform.errors import InvalidSetting

    public_key = settings.jwt_public_key
    if public_key is not None and not public_key.is_file():
        raise InvalidSetting(f"MDP_JWT_PUBLIC_KEY must name a file, {public_key} does not exist")
    given = {
        "secret": settings.jwt_secret and settings.jwt_secret.get_secret_value(),
        "public_key": public_key and public_key.read_text(),
        "jwks_url": settings.jwt_jwks_url,
    }
    found = [(kind, value) for kind, value in given.items() if value]
    if not found:
        return None
    if len(found) > 1:
        raise InvalidSetting("set one of MDP_JWT_SECRET, MDP_JWT_PUBLIC_KEY and MDP_JWT_JWKS_URL, not several")
    if not settings.jwt_issuer:
        raise InvalidSetting("MDP_JWT_ISSUER must name who issues the tokens")
    kind, value = found[0]
    return JwtConfig(kind, value, settings.jwt_issuer, settings.jwt_audience)  # type: ignore[arg-type] # a key of given


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is: in the audit log, and what limits count for.")],
    role: Annotated[str, typer.Option(help="reader, trader or admin.")] = "reader",
    scopes: Annotated[str, typer.Option(help="Separated by commas; none: whatever the role allows.")] = "",
    tier: Annotated[str, typer.Option(help="free, premium or enterprise.")] = "free",
    days: Annotated[int | None, typer.Option(min=1, max=3_650, help="Until it expires; never if not given.")] = None,
    as_json: Json = False,  # noqa: FBT002 - typer's flag
) -> None:
    """Make an API key and print it: this once, nobody can find it out again."""
    import datetime as dt
    import json
    from typing import cast

    from md_platform.access.principal import Role

    key, text = _keys().create(
        name,
        cast("Role", role),
        scopes=tuple(scope.strip() for scope in scopes.split(",") if scope.strip()),
        tier=tier,
        lifetime=None if days is None else dt.timedelta(days=days),
    )
    if as_json:
        typer.echo(json.dumps({**_as_dict(key), "key": text}))
        return
    typer.echo(text)
    typer.echo(f"{key.role} {key.name}, tier {key.tier}; keep it now, it is not shown again", err=True)


@app.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(help="The key's id, as `mdp token list` shows it.")]) -> None:
    """End an API key: nobody who comes with it is let in from now on."""
    import redis

    from md_platform.access.revocations import announce
    from md_platform.embedded.platform import redis_url
    from md_platform.settings import load_settings

    key = _keys().revoke(key_id)
    with redis.Redis.from_url(redis_url(load_settings()), socket_timeout=2, socket_connect_timeout=2) as client:
        told = announce(client, key.id)
    when = "from now on" if told else "within 60 s, since Redis does not answer"
    typer.echo(f"{key.id} of {key.name} lets nobody in {when}")


@app.command("list")
def list_(as_json: Json = False) -> None:  # noqa: FBT002 - typer's flag
    """List API keys, those that ended among them."""
    import json

    from md_platform.cli.tables import cell, console, heading_table

    keys = [_as_dict(key) for key in _keys().list()]
    if as_json:
        typer.echo(json.dumps(keys, indent=1))
        return
    table = heading_table("id", "name", "role", "scopes", "tier", "created", "expires", "revoked")
    for key in keys:
        table.add_row(*(cell(" ".join(value) if isinstance(value, list) else value) for value in key.values()))
    console().print(table)


def _keys() -> "Keys":
    from md_platform.access.keys import Keys
    from md_platform.embedded.platform import database_url
    from md_platform.settings import load_settings

    return Keys(database_url(load_settings()))


def _as_dict(key: "Key") -> dict[str, object]:
    from md_platform.cli.tables import iso

    times = (key.created_at, key.expires_at, key.revoked_at)
    created, expires, revoked = (None if time is None else iso(time) for time in times)
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "scopes": list(key.scopes),
        "tier": key.tier,
        "created_at": created,
        "expires_at": expires,
        "revoked_at": revoked,
    }
