"""Small pictures that a channel's people put into their messages by name."""
