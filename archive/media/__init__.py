"""What touches media: ffmpeg's argument lists, children under limits, probes, transport streams, playlists."""
