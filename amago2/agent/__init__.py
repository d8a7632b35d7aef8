"""The agent: networks and objectives put together, and the batch that it learns from."""
