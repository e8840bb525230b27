"""Clips: recordings that are cut from others."""
