"""The one definition of instrument, time grid, bar, rule, schema and indicator, for batch and live. No I/O here."""
