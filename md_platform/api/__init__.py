"""The REST API: HTTP requests in, tables and problems out. It never imports streaming or Dagster."""
