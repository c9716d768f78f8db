"""Thin I/O over the stores: Parquet layers, Delta archive, PostgreSQL, migrations. No rules of the domain here."""
