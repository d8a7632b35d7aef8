"""The container image of the locked environment: built, and jobs run in it."""
