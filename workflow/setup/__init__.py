"""The locked environment and what the machine has. Standard library only."""
