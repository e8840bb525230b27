"""Posters and storyboards."""
