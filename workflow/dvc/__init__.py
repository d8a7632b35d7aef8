"""Checkpoints and replay as DVC versions them: added, pushed, pulled, described."""
