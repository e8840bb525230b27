"""How LiveStream is deployed: the container files, the edge's configuration, and the local stack."""
