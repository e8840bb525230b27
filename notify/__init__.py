"""Tells followers that a channel went live: follows, fan-out in pages, the inbox, live notices."""
