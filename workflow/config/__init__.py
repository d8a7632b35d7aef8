"""What `params/` says: runs of experiments, figures, tables, claims; checked and resolved."""
