"""Who may do what in a room, what moderators do, and the record of it."""
