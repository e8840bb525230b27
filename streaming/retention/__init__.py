"""What becomes of old streams."""
