"""The live process: exchange feeds in; Redis, PostgreSQL and every consumer out. Independent of Dagster."""
