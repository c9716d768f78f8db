from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from md_platform.embedded.schema import dump_schema
from md_platform.errors import MigrationDrift, StorageError
from md_platform.settings import packaged_file
from md_platform.storage.migrate import (
    load_migrations,
    migrate,
    migrations_folder,
    pending,
    statements,
    variant_of,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE md.a (x integer);\nINSERT INTO md.a VALUES (1), (2);\n")
    (tmp_path / "0002_second.sql").write_text("ALTER TABLE md.a ADD y integer;\n")
    return tmp_path


def rows(url: str, query: str) -> list:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


def test_applies_in_order_and_only_once(database_url, folder):
    assert pending(database_url, folder) == ["0001_first.sql", "0002_second.sql"]
    assert migrate(database_url, folder) == ["0001_first.sql", "0002_second.sql"]
    assert migrate(database_url, folder) == []
    assert pending(database_url, folder) == []
    assert rows(database_url, "SELECT x, y FROM md.a ORDER BY x") == [(1, None), (2, None)]
    booked = rows(database_url, "SELECT number, name, variant, length(sha256) FROM md.migrations ORDER BY number")
    assert booked == [(1, "first", "plain", 64), (2, "second", "plain", 64)]


def test_only_what_is_new_is_applied(database_url, folder):
    migrate(database_url, folder)
    (folder / "0003_third.sql").write_text("CREATE TABLE md.b ();")
    assert migrate(database_url, folder) == ["0003_third.sql"]


def test_a_changed_file_is_drift(database_url, folder):
    migrate(database_url, folder)
    (folder / "0001_first.sql").write_text("CREATE TABLE md.a (x bigint);")
    with pytest.raises(MigrationDrift, match=r"0001_first\.sql has changed since it was applied"):
        migrate(database_url, folder)


def test_unix_and_windows_line_ends_are_the_same_file(database_url, folder):
    migrate(database_url, folder)
    path = folder / "0001_first.sql"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert migrate(database_url, folder) == []


def test_a_database_newer_than_the_code_is_drift(database_url, folder):
    migrate(database_url, folder)
    (folder / "0002_second.sql").unlink()
    with pytest.raises(MigrationDrift, match="the database has migration 0002_second, which this version"):
        pending(database_url, folder)


def test_a_number_before_the_last_applied_is_drift(database_url, folder):
    (folder / "0002_second.sql").rename(folder / "0005_second.sql")
    migrate(database_url, folder)
    (folder / "0003_late.sql").write_text("SELECT 1;")
    with pytest.raises(MigrationDrift, match=r"0003_late\.sql comes before 0005"):
        migrate(database_url, folder)


def test_a_failing_migration_leaves_nothing_of_itself(database_url, folder):
    (folder / "0002_second.sql").write_text("CREATE TABLE md.half ();\nSELECT 1/0;")
    with pytest.raises(StorageError, match=r"migration 0002_second\.sql failed: division by zero"):
        migrate(database_url, folder)
    assert rows(database_url, "SELECT number FROM md.migrations") == [(1,)]
    assert rows(database_url, "SELECT to_regclass('md.half')") == [(None,)]


def test_without_a_transaction_statements_run_one_by_one(database_url, folder):
    (folder / "0003_index.sql").write_text(
        "-- no-transaction: an index is built beside writers\n"
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS by_x ON md.a (x);\n"
        "VACUUM md.a;\n"
        "DO $$ BEGIN PERFORM 1; PERFORM 2; END $$;\n"
    )
    assert migrate(database_url, folder)[-1] == "0003_index.sql"
    assert rows(database_url, "SELECT count(*) FROM pg_indexes WHERE indexname = 'by_x'") == [(1,)]


def test_variants_follow_the_server(database_url, folder):
    (folder / "0003_table.plain.sql").write_text("CREATE TABLE md.plain ();")
    (folder / "0003_table.timescale.sql").write_text("SELECT create_hypertable('nonsense');")
    assert variant_of(database_url) == "plain"
    assert migrate(database_url, folder)[-1] == "0003_table.plain.sql"
    assert [migration.path.name for migration in load_migrations(folder, "timescale")][-1] == "0003_table.timescale.sql"


def test_a_database_keeps_the_variant_that_it_began_with(database_url, folder):
    migrate(database_url, folder)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE md.migrations SET variant = 'timescale' WHERE number = 1")
    assert variant_of(database_url) == "timescale"


def test_names_that_do_not_make_a_sequence_are_refused(folder):
    (folder / "0002_again.sql").write_text("SELECT 1;")
    with pytest.raises(MigrationDrift, match="two migrations have number 0002"):
        load_migrations(folder, "plain")
    (folder / "0002_again.sql").unlink()
    (folder / "3-Third.sql").write_text("SELECT 1;")
    with pytest.raises(MigrationDrift, match=r"are named NNNN_name\.sql"):
        load_migrations(folder, "plain")


def test_no_database_is_one_clear_error(folder):
    with pytest.raises(StorageError, match="the database does not answer"):
        migrate("postgresql://nobody:secret@127.0.0.1:1/none", folder)


def test_two_runners_take_turns(database_url, folder):
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrate(database_url, folder), range(4)))
    assert sorted(applied) == [[], [], [], ["0001_first.sql", "0002_second.sql"]]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("-- a; b\nSELECT 1;\n-- the end;\n", ["-- a; b\nSELECT 1"]),
        ("SELECT ';', 'it''s; '; SELECT \";\"", ["SELECT ';', 'it''s; '", 'SELECT ";"']),
        ("DO $x$ a; $y$ b; $x$; SELECT /* ; */ 2;", ["DO $x$ a; $y$ b; $x$", "SELECT /* ; */ 2"]),
        ("  ;; ", []),
    ],
)
def test_statements_are_split_outside_of_quotes_and_comments(sql, expected):
    assert statements(sql) == expected


def test_the_snapshot_is_what_the_migrations_make(postgres_url, database_url):
    """`make schema` writes the snapshot again after a migration was added."""
    migrate(database_url)
    migrated = dump_schema(database_url)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE from_snapshot")
    snapshot_url = postgres_url.rpartition("/")[0] + "/from_snapshot"
    try:
        with psycopg.connect(snapshot_url, autocommit=True) as connection:
            connection.execute((packaged_file("sql") / "schema.sql").read_bytes())
        assert dump_schema(snapshot_url) == migrated
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("DROP DATABASE from_snapshot WITH (FORCE)")


def test_the_platforms_own_migrations_are_packaged():
    assert load_migrations(migrations_folder(), "plain")
    assert load_migrations(migrations_folder(), "timescale")
