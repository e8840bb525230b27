"""Who watches: heartbeats of players, counted in Redis and kept minute by minute."""
