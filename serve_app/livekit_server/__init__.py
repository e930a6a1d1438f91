"""A LiveKit server of our own, for developing and for tests: the binary, its process, and who looks after it."""
