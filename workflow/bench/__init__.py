"""Speed and memory of learner, actors and replay, beside a plain baseline of the same run."""
