"""Questions with a few answers that a room votes on for some minutes."""
