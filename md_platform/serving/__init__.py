"""What the platform knows, read as one: from the lake, the live store and Redis. For the API, the gateway, the client.

No HTTP and no settings here: requests come as values, errors leave as types of `errors`.
"""
