"""Webhooks: what happens to a channel, told to its owner's own endpoints, signed, repeated and logged."""
