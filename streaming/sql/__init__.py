"""Streaming's SQL: migrations and named queries."""
