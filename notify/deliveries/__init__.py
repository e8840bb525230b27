"""Sending what leaves the house: claims, leases, retries, pauses of providers."""
