"""What the container image needs beside the services: the edge's start and the health check."""
