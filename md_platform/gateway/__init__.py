"""The WebSocket gateway: what Redis publishes in, thousands of clients' subscriptions out; and the past, played again.

`server` listens, `session` is one client, `hub` has one Redis subscription for each channel that anybody wants, and
`messages` is what is said between them, in words. docs/gateway.md is for its users.
"""
