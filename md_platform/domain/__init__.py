"""The one definition of instrument, time grid, bar, rule, schema and indicator, shared by batch and live. No I/O here."""
