"""What the ledger asks of the database, and the frames that come of it."""

import polars as pl

SELECT = """
SELECT dataset, instrument, date, status, rows, bytes, first_time, last_time, source, sha256, score,
       evidence::text, run_id
FROM md.partition_status
WHERE (%(dataset)s::text IS NULL OR dataset = %(dataset)s)
  AND (%(instruments)s::text[] IS NULL OR instrument = ANY (%(instruments)s))
  AND (%(start)s::date IS NULL OR date >= %(start)s)
  AND (%(end)s::date IS NULL OR date < %(end)s)
ORDER BY dataset, instrument, date
"""

SCORES = """
SELECT instrument, date, status, score, rows, bytes,
       (evidence ->> 'expected')::bigint, (evidence ->> 'missing')::bigint,
       jsonb_array_length(coalesce(evidence -> 'gaps', '[]')),
       (SELECT coalesce(sum(value::bigint), 0)::bigint FROM jsonb_each_text(coalesce(evidence -> 'quarantined', '{}'))),
       source
FROM md.partition_status
WHERE dataset = %(dataset)s AND instrument = ANY (%(instruments)s)
  AND (%(start)s::date IS NULL OR date >= %(start)s)
  AND (%(end)s::date IS NULL OR date < %(end)s)
ORDER BY instrument, date
"""

SCORES_SCHEMA = pl.Schema(
    {
        "instrument": pl.String(),
        "date": pl.Date(),
        "status": pl.String(),
        "score": pl.Float64(),
        **dict.fromkeys(("rows", "bytes", "expected", "missing", "gaps", "quarantined"), pl.Int64()),
        "source": pl.String(),
    }
)

HISTORY = """
SELECT dataset, date, status, rows, sha256, first_time, last_time, coalesce(evidence -> 'inputs', '{}'),
       coalesce(evidence ->> 'error', evidence ->> 'reason'), updated_at, changed_at
FROM md.partition_status
WHERE instrument = %s AND dataset = ANY (%s) AND date >= %s AND date < %s
"""

USABLE_BETWEEN = """
SELECT made.date, made.sha256, made.updated_at, made.changed_at,
       coalesce(archived.sha256 = made.sha256, false), coalesce(made.evidence -> 'inputs', '{}')
FROM md.partition_status made
LEFT JOIN md.partition_status archived
       ON archived.dataset = %s AND archived.instrument = made.instrument AND archived.date = made.date
      AND archived.status = ANY (%s)
WHERE made.dataset = %s AND made.instrument = %s AND made.date >= %s AND made.date < %s AND made.status = ANY (%s)
ORDER BY made.date
"""

COUNT_MADE = """
SELECT run_id, count(*) FROM md.partition_status
WHERE run_id = ANY (%s) AND dataset = ANY (%s) AND date >= %s AND date < %s GROUP BY run_id
"""

SOURCES = """
SELECT dataset, source, count(DISTINCT instrument), count(*), sum(rows)::bigint, min(date), max(date)
FROM md.partition_status WHERE dataset = ANY (%s) AND source IS NOT NULL GROUP BY dataset, source ORDER BY 1, 2
"""

SOURCES_SCHEMA = pl.Schema(
    {
        "dataset": pl.String(),
        "source": pl.String(),
        **dict.fromkeys(("instruments", "partitions", "rows"), pl.Int64()),
        "first_day": pl.Date(),
        "last_day": pl.Date(),
    }
)
