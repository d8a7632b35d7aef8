"""Versions of runs' checkpoints and replay, kept by DVC: add, push, pull, describe."""
