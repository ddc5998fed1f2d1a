"""The backend with real containers: a kind cluster in Docker, whose API server runs under the cluster definition."""
