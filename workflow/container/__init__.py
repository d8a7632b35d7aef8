"""The container image of the locked environment: its content, how to build it, jobs in it."""
