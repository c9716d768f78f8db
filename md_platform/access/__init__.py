"""Who asks, what they may do, how often, and what they did: credentials in, principals and audit entries out.

How a protocol carries credentials, or says no, does not belong here.
"""
