"""Streams as people see and change them."""
