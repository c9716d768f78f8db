"""Numbered SQL files in, the schema of one PostgreSQL database out: forward only, checksummed, one migration at a time.

Files are `NNNN_name.sql`, or `NNNN_name.timescale.sql` beside `NNNN_name.plain.sql` where the two must differ. A first
line `-- no-transaction` runs the statements one by one outside of a transaction. What was applied stands in
`md.migrations`. The tables themselves do not belong here.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from md_platform.errors import MigrationDrift, StorageError
from md_platform.settings import packaged_file

VARIANTS = ("plain", "timescale")
_FILE = re.compile(r"(?P<number>\d{4})_(?P<name>[a-z0-9_]+)(?:\.(?P<variant>plain|timescale))?\.sql")
_NO_TRANSACTION = re.compile(r"\s*--\s*no-transaction\b")
_LOCK = 7_461_002_951_008_233_471  # any number nobody else uses: two runners take turns on it
_TOKEN = re.compile(
    r"""(?P<skip>'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|(?P<tag>\$\w*\$).*?(?P=tag))|(?P<end>;)""", re.DOTALL
)
_BOOK = """
CREATE SCHEMA IF NOT EXISTS md;
CREATE TABLE IF NOT EXISTS md.migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    variant text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. `sha256` is of its text with Unix line ends, so that a checkout on Windows is no drift."""

    number: int
    name: str
    path: Path
    sql: str
    sha256: str

    @property
    def transactional(self) -> bool:
        """Whether the whole file is one transaction."""
        return _NO_TRANSACTION.match(self.sql) is None


def migrations_folder() -> Path:
    """Where the platform's own migrations are."""
    return packaged_file("sql") / "migrations"


def load_migrations(folder: Path, variant: str) -> list[Migration]:
    """Migrations of `folder` for databases of `variant`, by number; MigrationDrift where the names are wrong."""
    found: dict[int, Migration] = {}
    for path in sorted(folder.glob("*.sql")):
        match = _FILE.fullmatch(path.name)
        if match is None:
            raise MigrationDrift(f"migration files are named NNNN_name.sql (or .plain.sql, .timescale.sql), was {path}")
        if match["variant"] not in (None, variant):
            continue
        text = path.read_bytes().decode().replace("\r\n", "\n")
        number = int(match["number"])
        if number in found:
            raise MigrationDrift(f"two migrations have number {number:04}: {found[number].path.name} and {path.name}")
        digest = hashlib.sha256(text.encode()).hexdigest()
        found[number] = Migration(number, match["name"], path, text, digest)
    return [found[number] for number in sorted(found)]


def migrate(database_url: str, folder: Path | None = None) -> list[str]:
    """Apply what is pending and return the file names, none where all is applied.

    Runners take turns. A migration that fails raises StorageError and leaves those before it applied. MigrationDrift
    where a file is not what was applied under its number.
    """
    with _connected(database_url) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        connection.execute(_BOOK)
        variant = _variant(connection)
        todo = _pending(connection, load_migrations(folder or migrations_folder(), variant))
        if todo and variant == "timescale":
            connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        for migration in todo:
            try:
                _apply(connection, migration, variant)
            except psycopg.Error as error:
                raise StorageError(f"migration {migration.path.name} failed: {str(error).strip()}") from error
        return [migration.path.name for migration in todo]


def pending(database_url: str, folder: Path | None = None) -> list[str]:
    """File names that `migrate` would apply; changes nothing. MigrationDrift as there."""
    with _connected(database_url) as connection:
        known = load_migrations(folder or migrations_folder(), _variant(connection))
        return [migration.path.name for migration in _pending(connection, known)]


def variant_of(database_url: str) -> str:
    """`timescale` or `plain`: what the database was first migrated as, else what its server offers."""
    with _connected(database_url) as connection:
        return _variant(connection)


@contextmanager
def _connected(database_url: str) -> Iterator[psycopg.Connection]:
    try:
        connection = psycopg.connect(database_url, autocommit=True, connect_timeout=10)
    except psycopg.Error as error:
        raise StorageError(f"the database does not answer: {str(error).strip()}") from error
    with connection:
        yield connection


def _booked(connection: psycopg.Connection) -> bool:
    row = connection.execute("SELECT to_regclass('md.migrations') IS NOT NULL").fetchone()
    return bool(row and row[0])


def _variant(connection: psycopg.Connection) -> str:
    if _booked(connection):
        row = connection.execute("SELECT variant FROM md.migrations ORDER BY number LIMIT 1").fetchone()
        if row:
            return str(row[0])
    offered = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')"
        " OR (EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')"
        "     AND current_setting('shared_preload_libraries') LIKE '%timescaledb%')"
    ).fetchone()
    return VARIANTS[bool(offered and offered[0])]


def _pending(connection: psycopg.Connection, known: list[Migration]) -> list[Migration]:
    """Those of `known` that are not applied, after proving that what is applied is what the files say."""
    if not _booked(connection):
        return known
    applied = {
        number: (name, digest)
        for number, name, digest in connection.execute("SELECT number, name, sha256 FROM md.migrations")
    }
    files = {migration.number: migration for migration in known}
    for number, (name, digest) in sorted(applied.items()):
        if number not in files:
            raise MigrationDrift(
                f"the database has migration {number:04}_{name}, which this version of md-platform lacks: "
                "install the version that made it, or a later one"
            )
        if digest != files[number].sha256:
            raise MigrationDrift(
                f"{files[number].path.name} has changed since it was applied (as {number:04}_{name}): "
                "restore the file and write a new migration for the difference"
            )
    last = max(applied, default=-1)
    todo = [migration for migration in known if migration.number not in applied]
    for migration in todo:
        if migration.number < last:
            raise MigrationDrift(
                f"{migration.path.name} comes before {last:04}, which is already applied: give it the next number"
            )
    return todo


def _apply(connection: psycopg.Connection, migration: Migration, variant: str) -> None:
    entry = "INSERT INTO md.migrations (number, name, variant, sha256) VALUES (%s, %s, %s, %s)"
    values = (migration.number, migration.name, variant, migration.sha256)
    if migration.transactional:
        with connection.transaction():
            connection.execute(migration.sql.encode())
            connection.execute(entry, values)
    else:
        for statement in statements(migration.sql):
            connection.execute(statement.encode())
        connection.execute(entry, values)


def statements(sql: str) -> list[str]:
    """The statements of `sql`, without their semicolons; comments alone are none."""
    parts: list[str] = []
    start = 0
    for token in _TOKEN.finditer(sql):
        if token["end"]:
            parts.append(sql[start : token.start()])
            start = token.end()
    parts.append(sql[start:])
    return [part.strip() for part in parts if _without_comments(part).strip()]


def _without_comments(sql: str) -> str:
    return _TOKEN.sub(lambda token: "" if token[0].startswith(("--", "/*")) else token[0], sql)
