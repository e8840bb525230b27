"""Rooms on one gateway: following the broker, who sits there, what is known of a room, what is told to whom."""
