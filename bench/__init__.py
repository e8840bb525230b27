"""Measurements of what the project promises: each bench starts what it needs, and says whether its bars hold."""
