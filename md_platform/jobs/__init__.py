"""Work that outlasts a request: jobs in PostgreSQL, workers that carry them out, export files."""
