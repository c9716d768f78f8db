"""Batch network code: from venues, bulk files, ccxt and imported files to frames of the raw schema."""
