"""A run's configuration: its schema, and YAML layers with errors that name file and key."""
