"""Alerts: rules over what is streamed and stored, evaluated once for each crossing, told by Redis and webhooks."""
