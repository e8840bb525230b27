"""What media servers tell: hooks of each dialect, read into one command."""
