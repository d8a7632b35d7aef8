"""The training loop: collector, learner, checkpoints, logs, resumption, several processes."""
