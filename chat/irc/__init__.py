"""The IRC door: rooms for bots and clients that speak IRC as Twitch does (docs/irc.md)."""
