"""Channels and their stream keys."""
