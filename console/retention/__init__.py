"""``livestream retention``: what is kept how long, what would go, and what nothing may touch."""
