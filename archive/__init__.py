"""Archive: keeps every stream as a recording, playable the moment the stream ends."""
