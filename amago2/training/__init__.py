"""Training: the loop, the learner, checkpoints, what a run writes, several processes."""
