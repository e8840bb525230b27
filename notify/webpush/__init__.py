"""Web Push: a browser hears of a stream although no page is open (RFC 8030, 8291, 8292)."""
