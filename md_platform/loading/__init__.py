"""Loads: instruments and days in, runs of Dagster planned, launched and watched; for the command line and the API."""
