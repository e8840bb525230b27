"""What a backup is, how one is made, and how a server comes out of it again."""
