"""Agents that AMAGO-2 is compared with: trained, evaluated and kept as its own runs are."""
