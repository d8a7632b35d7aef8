"""Agents that AMAGO-2 is compared with; trained, evaluated and stored as its own runs are."""
