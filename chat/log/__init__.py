"""The permanent log of rooms: writes down what was said, takes back what was deleted, shows it, and lets it age."""
