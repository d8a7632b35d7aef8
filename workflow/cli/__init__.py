"""The command line, `python -m workflow`: options and help; what commands do is elsewhere."""
