"""Clients over WebSockets: from the handshake to the last step of a message, which is in C where it was built."""
