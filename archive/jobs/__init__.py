"""Leased jobs of every kind, and the worker that does them."""
