import math

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from md_platform.storage.copy_rows import HEADER, TRAILER, Bytes, FloatArrays, Numbers, OptionalNumbers, encoded

INT8 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
LEVELS = st.lists(st.tuples(FLOATS, FLOATS), max_size=4)
ROW = st.tuples(INT8, st.integers(-(2**15), 2**15 - 1), FLOATS, FLOATS | st.none(), INT8 | st.none(), TEXT, LEVELS)


@pytest.fixture(scope="module")
def connection(module_database_url):
    with psycopg.connect(module_database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE kinds (n integer, a bigint, b smallint, c double precision, d double precision, e bigint, "
            "f text, g double precision[], h double precision[])"
        )
        yield connection


def copied(connection, payload: bytes) -> list:
    connection.execute("TRUNCATE kinds")
    with connection.cursor().copy("COPY kinds FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(payload)
    return connection.execute("SELECT a, b, c, d, e, f, g, h FROM kinds ORDER BY n").fetchall()


def same(one: object, other: object) -> bool:
    """Equal to the last bit: -0.0 is not 0.0."""
    return repr(one) == repr(other)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(rows=st.lists(ROW, min_size=1, max_size=30))
def test_postgres_reads_what_was_written(connection, rows):
    a, b, c, d, e, f, levels = zip(*rows, strict=True)
    fields = [
        Numbers(np.arange(len(rows)), ">i4"),
        Numbers(np.array(a, dtype=np.int64), ">i8"),
        Numbers(np.array(b, dtype=np.int64), ">i2"),
        Numbers(np.array(c, dtype=np.float64), ">f8"),
        OptionalNumbers(d, ">f8"),
        OptionalNumbers(e, ">i8"),
        Bytes([text.encode() for text in f]),
        FloatArrays(levels, 0),
        FloatArrays(levels, 1),
    ]
    expected = [(*row[:6], [p for p, _ in row[6]], [s for _, s in row[6]]) for row in rows]
    found = copied(connection, encoded(fields, len(rows)))
    assert all(map(same, found, expected))
    assert len(found) == len(expected)


def test_nan_and_null_bytes_are_told_apart(connection):
    nothing = Bytes([None, b"x"])
    number = Numbers(np.array([1, 2]), ">i8")
    short = Numbers(np.array([1, 2]), ">i2")
    fields = [Numbers(np.array([1, 2]), ">i4"), number, short, Numbers(np.array([math.nan, math.inf]), ">f8"),
              OptionalNumbers([None, math.nan], ">f8"), OptionalNumbers([None, None], ">i8"), nothing,
              FloatArrays([[], []], 0), FloatArrays([[], []], 1)]  # fmt: skip
    found = copied(connection, encoded(fields, 2))
    assert repr(found) == repr(
        [(1, 1, math.nan, None, None, None, [], []), (2, 2, math.inf, math.nan, None, "x", [], [])]
    )


def test_no_rows_are_an_empty_stream():
    assert encoded([Numbers(np.array([], dtype=np.int64), ">i8"), Bytes([])], 0) == HEADER + TRAILER
