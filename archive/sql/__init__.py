"""The archive's SQL: migrations and named queries."""
