"""The command line, `python -m workflow`: its options and help; the work is done elsewhere."""
