"""Replay: trajectories on disk, and batches sampled from them."""
