"""The page that a person reads: `results/<budget>/report/index.html`."""
