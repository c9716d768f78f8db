"""Pure transforms, frames in and frames out: what each Dagster asset does between its read and its write."""
