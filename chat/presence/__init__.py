"""Who is in a room now, over all gateways."""
