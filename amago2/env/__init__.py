"""Environments: made from a configuration, stepped together, in this process or in workers."""
