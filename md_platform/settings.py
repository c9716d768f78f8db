"""Settings from the environment (prefix MDP_) and `.env`: read once by entry points, frozen, passed down as values."""

import datetime as dt
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from dotenv import dotenv_values
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from md_platform.errors import InvalidSetting

SANDBOX_INSTRUMENTS = ("sandbox:BTC-USDT", "sandbox-coinbase:ETH-USD", "sandbox-kraken:SOL-USD")
_VENUE_URL = re.compile(r"MDP_VENUE_(?P<venue>[A-Z0-9_]+?)_(?P<kind>REST|WS|BULK)_URL")


class Universe(BaseModel):
    """A named set of instruments with its calendar and first day: the prefix of its asset keys (`crypto/raw_bars`).

    `venues` says whose instruments belong here; `instruments` claims single ids and comes before it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    calendar: str
    first_day: dt.date
    venues: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()


class VenueUrls(BaseModel):
    """Endpoints of one venue that the environment overrides; None leaves the venue's own."""

    model_config = ConfigDict(frozen=True)

    rest: str | None = None
    ws: str | None = None
    bulk: str | None = None


class KeptFor(BaseModel):
    """How long the live store keeps what (older data leave it for good), and when it goes into the columnstore.

    Rows that come later than `columnstore_after` are stored too, at ten times the cost.
    """

    model_config = ConfigDict(frozen=True)

    ticks: dt.timedelta = dt.timedelta(days=365)
    books: dt.timedelta = dt.timedelta(days=7)
    bars_1m: dt.timedelta = dt.timedelta(days=3 * 365)
    bars_5m: dt.timedelta = dt.timedelta(days=5 * 365)
    bars_1d: dt.timedelta = dt.timedelta(days=10 * 365)
    quarantine: dt.timedelta = dt.timedelta(days=30)
    ticks_columnstore_after: dt.timedelta = dt.timedelta(days=2)
    bars_columnstore_after: dt.timedelta = dt.timedelta(days=14)


def _span(value: object) -> object:
    if isinstance(value, str) and (match := _SPAN.fullmatch(value.strip())):
        return dt.timedelta(hours=int(match["count"]) * _HOURS[match["unit"]])
    if isinstance(value, dt.timedelta):
        return value
    raise ValueError("must be a number with h, d, w or y, such as 365d or 3y")


_SPAN = re.compile(r"(?P<count>\d{1,6})(?P<unit>[hdwy])")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24, "y": 365 * 24}
Span = Annotated[dt.timedelta, BeforeValidator(_span)]
"""Hours, days, weeks or years of 365 days, as 12h, 365d, 4w, 3y."""

_DAY = dt.timedelta(days=1)
_KEPT = KeptFor()


class Settings(BaseSettings):
    """Everything that the environment decides. `load_settings` is the way to get one."""

    model_config = SettingsConfigDict(env_prefix="MDP_", frozen=True, extra="ignore")

    home: Path = Field(default=Path(".mdp"), description="state of everything embedded")
    lake_uri: str | None = Field(default=None, description="Parquet layers; default HOME/lake")
    archive_uri: str | None = Field(default=None, description="Delta Lake tables, path or s3://; default HOME/archive")
    import_folder: Path | None = Field(default=None, description="watched for files to import; default HOME/import")
    exports_folder: Path | None = Field(default=None, description="files of export jobs; default HOME/exports")
    database_url: SecretStr | None = Field(default=None, description="external PostgreSQL instead of the embedded one")
    redis_url: SecretStr | None = Field(default=None, description="external Redis instead of the embedded one")
    sinks: SecretStr | None = Field(default=None, description="brokers and webhooks that get the stream, besides Redis")
    instruments: Annotated[tuple[str, ...], NoDecode] = SANDBOX_INSTRUMENTS
    first_load_days: int = Field(default=3, ge=0, description="full days of them that `mdp up` loads")
    universes_file: Path | None = Field(default=None, description="TOML of universes; default the packaged one")
    alert_webhook_url: SecretStr | None = Field(default=None, description="told of failed runs")
    alert_private_webhooks: bool = Field(default=False, description="whether alerts may go to private addresses")
    retention_ticks: Span = Field(default=_KEPT.ticks, ge=_DAY, description="trades, quotes and 1s bars, live")
    retention_books: Span = Field(default=_KEPT.books, ge=_DAY, description="order books, live")
    retention_bars_1m: Span = Field(default=_KEPT.bars_1m, ge=14 * _DAY, description="live bars of a minute")
    retention_bars_5m: Span = Field(default=_KEPT.bars_5m, ge=14 * _DAY, description="live bars of 5m to 4h")
    retention_bars_1d: Span = Field(default=_KEPT.bars_1d, ge=14 * _DAY, description="live bars of 1d, 1w, 1M; notices")
    retention_quarantine: Span = Field(default=_KEPT.quarantine, ge=_DAY, description="messages not accepted, live")
    columnstore_ticks: Span = Field(default=_KEPT.ticks_columnstore_after, description="ticks are compressed after")
    columnstore_bars: Span = Field(default=_KEPT.bars_columnstore_after, description="bars are compressed after")
    dagster_port: int = Field(default=3000, ge=1, le=65_535)
    sandbox_port: int = Field(default=8090, ge=1, le=65_535)
    sandbox_seed: int = 7
    stream: bool = Field(default=True, description="whether `mdp up` streams live")
    stream_port: int = Field(default=8002, ge=1, le=65_535, description="health and metrics of the live process")
    book_levels: int = Field(default=10, ge=1, le=1_000, description="levels a side of published order books")
    auth: Literal["open", "required"] = Field(default="open", description="who may ask: everybody, or keys and tokens")
    api_host: str = Field(default="127.0.0.1", description="where the REST API listens")
    api_port: int = Field(default=8000, ge=1, le=65_535)
    gateway_host: str = Field(default="127.0.0.1", description="where the WebSocket gateway listens")
    gateway_port: int = Field(default=8001, ge=1, le=65_535)
    api_cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(default=(), description="pages that may ask")
    api_max_body_bytes: int = Field(default=16 * 2**20, ge=1_024, description="of one request")
    api_max_rows: int = Field(default=1_000_000, ge=1_000, description="of one answer")
    tls_certificate: Path | None = Field(default=None, description="PEM, with the chain; with it comes TLS")
    tls_key: Path | None = Field(default=None, description="PEM")
    jwt_secret: SecretStr | None = Field(default=None, description="tokens are HS256, signed with this")
    jwt_public_key: Path | None = Field(default=None, description="PEM: tokens are RS256, signed by its owner")
    jwt_jwks_url: str | None = Field(default=None, description="tokens are RS256, their keys are here")
    jwt_issuer: str | None = Field(default=None, description="who must have issued tokens")
    jwt_audience: str = Field(default="md-platform", description="for whom tokens must be")
    enterprise_messages_per_s: int = Field(default=10_000, ge=1, description="what the tier may have")
    enterprise_symbols: int = Field(default=1_000, ge=1)
    enterprise_requests_per_minute: int = Field(default=6_000, ge=1)
    retention_audit: Span = Field(default=dt.timedelta(days=365), ge=_DAY, description="the log of accesses")
    otlp_url: str | None = Field(default=None, description="an OpenTelemetry collector that gets traces, by HTTP")

    @field_validator("instruments", "api_cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @property
    def lake(self) -> str:
        """Where the Parquet layers are."""
        return self.lake_uri or str(self.home.resolve() / "lake")

    @property
    def archive(self) -> str:
        """Where the Delta tables are."""
        return self.archive_uri or str(self.home.resolve() / "archive")

    @property
    def imports(self) -> Path:
        """Folder whose new files are imported."""
        return self.import_folder or self.home.resolve() / "import"

    @property
    def exports(self) -> Path:
        """Folder of the files of export jobs."""
        return self.exports_folder or self.home.resolve() / "exports"

    @property
    def kept_for(self) -> KeptFor:
        """How long the live store keeps what."""
        return KeptFor(
            ticks=self.retention_ticks,
            books=self.retention_books,
            bars_1m=self.retention_bars_1m,
            bars_5m=self.retention_bars_5m,
            bars_1d=self.retention_bars_1d,
            quarantine=self.retention_quarantine,
            ticks_columnstore_after=self.columnstore_ticks,
            bars_columnstore_after=self.columnstore_bars,
        )

    @property
    def uses_sandbox(self) -> bool:
        """Whether any configured instrument trades on the sandbox venue."""
        return any(name.startswith("sandbox") for name in self.instruments)


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from `environ` (the process's by default) over `.env`; InvalidSetting names the wrong variable."""
    values = {k: v for k, v in {**dotenv_values(".env"), **(os.environ if environ is None else environ)}.items() if v}
    named = {k.removeprefix("MDP_").lower(): v for k, v in values.items() if k.startswith("MDP_")}
    try:
        return Settings.model_validate(named)
    except ValidationError as error:
        first = error.errors()[0]
        variable = "MDP_" + str(first["loc"][0]).upper()
        raise InvalidSetting(f"{variable}: {first['msg'].lower()}, was {first['input']!r}") from None


def venue_urls(environ: Mapping[str, str] | None = None) -> dict[str, VenueUrls]:
    """Overridden endpoints by venue id, from `MDP_VENUE_<VENUE>_REST_URL`, `_WS_URL`, `_BULK_URL`."""
    values = {**dotenv_values(".env"), **(os.environ if environ is None else environ)}
    urls: dict[str, dict[str, str]] = {}
    for variable, value in values.items():
        if value and (match := _VENUE_URL.fullmatch(variable)):
            venue = match["venue"].lower().replace("_", "-")
            urls.setdefault(venue, {})[match["kind"].lower()] = value.rstrip("/")
    return {venue: VenueUrls(**kinds) for venue, kinds in urls.items()}


def load_universes(path: Path | None = None) -> tuple[Universe, ...]:
    """Universes from the TOML file at `path` (the packaged file by default); InvalidSetting where it cannot be read."""
    path = path or Path(__file__).with_name("universes.toml")
    try:
        tables = tomllib.loads(path.read_text())
        return tuple(Universe(name=name, **table) for name, table in tables.items())
    except FileNotFoundError:
        raise InvalidSetting(f"MDP_UNIVERSES_FILE must name a file, {path} does not exist") from None
    except (tomllib.TOMLDecodeError, ValidationError, TypeError) as error:
        raise InvalidSetting(f"universes file {path} cannot be read: {error}") from None


def universe_of(instrument_id: str, universes: tuple[Universe, ...]) -> Universe:
    """The universe that claims `instrument_id`, by id or else by venue; InvalidSetting where none does."""
    for universe in universes:
        if instrument_id in universe.instruments:
            return universe
    venue = instrument_id.partition(":")[0]
    for universe in universes:
        if venue in universe.venues:
            return universe
    raise InvalidSetting(f"no universe claims {instrument_id}: add venue {venue!r} to one in the universes file")


def packaged_file(name: str) -> Path:
    """A file that ships with the code (`dagster.yaml`, `sql`): in the package in a wheel, above it in a checkout."""
    here = Path(__file__).parent
    return here / name if (here / name).exists() else here.parent / name
