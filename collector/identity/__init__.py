"""Who is asking: devices by the Ed25519 key that they were enrolled with."""
