"""What the archive keeps in its object store: the keys, the store that the settings name, and copying to another."""
