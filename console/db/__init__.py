"""``livestream db``: what the database says of itself."""
