"""Pins, announcements, notes of follows, and what ends by itself."""
