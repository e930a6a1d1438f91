"""Looking into the running system, and telling it which models to keep in memory."""
