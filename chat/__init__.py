"""Chat: WebSocket gateways, any number of them, over rooms that Redis holds for minutes."""
