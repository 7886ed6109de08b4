"""How an agent proves who it is: a short JWT, signed with the Ed25519 key that never leaves the Pi.

The shape is that of `private_key_jwt` (RFC 7523): issuer and subject are the device's id, the audience is the
collector. Both sides share these names and bounds; signing lives with the agent, verifying with the collector.
"""

ALGORITHM = "EdDSA"
AUDIENCE = "stopline-collector"
LIFETIME_S = 300
"""How long an agent makes its tokens valid."""
MAX_LIFETIME_S = 600
"""Longest lifetime that a collector accepts."""
LEEWAY_S = 60
"""By how much the two clocks may differ."""
