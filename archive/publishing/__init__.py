"""Makes recordings playable: finalising, what is missing, master playlists, going back in a running stream."""
