"""Chat beside recordings: which moments they show, and what was said then."""
