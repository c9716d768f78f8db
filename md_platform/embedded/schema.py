"""Migrations in, `sql/schema.sql` out: the schema as one readable file, which a test compares with the migrations.

`python -m md_platform.embedded.schema` writes it again after a new migration.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from md_platform.embedded import postgres, postgres_running
from md_platform.errors import StorageError
from md_platform.settings import packaged_file
from md_platform.storage.migrate import migrate

_NOISE = ("--", "\\restrict", "\\unrestrict", "SET ", "SELECT pg_catalog.set_config")


def dump_schema(database_url: str) -> str:
    """The schema `md` of a database as SQL: no data, no owners, nothing that changes from one dump to the next."""
    parts = {name: str(value) for name, value in conninfo_to_dict(database_url).items()}
    password = parts.pop("password", "")
    result = subprocess.run(  # noqa: S603 - argv is ours
        [
            str(postgres.installation() / "bin" / "pg_dump"),
            *("--schema-only", "--schema=md", "--no-owner", "--no-privileges", "--dbname"),
            " ".join(f"{name}={value}" for name, value in parts.items()),
        ],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PGPASSWORD": password},
    )
    if result.returncode != 0:
        raise StorageError(f"pg_dump failed: {result.stderr.strip()}")
    lines = [line for line in result.stdout.splitlines() if not line.startswith(_NOISE)]
    blocks = "\n".join(lines).split("\n\n")
    return "\n\n".join(block.strip("\n") for block in blocks if block.strip()) + "\n"


def write_schema(path: Path) -> None:
    """Migrate an empty database and write its schema to `path`."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with postgres_running(Path(folder) / "home", durable=False) as url:
            migrate(url)
            path.write_text(
                "-- Written by `make schema` from sql/migrations: change those, then write this again.\n\n"
                + dump_schema(url)
            )


if __name__ == "__main__":
    write_schema(Path(sys.argv[1]) if sys.argv[1:] else packaged_file("sql") / "schema.sql")
