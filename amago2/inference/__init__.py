"""Using a trained policy: acting in an environment of one's own, and filming it."""
