"""Recordings as MP4 files, made when somebody asks."""
