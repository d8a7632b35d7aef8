"""One module per figure: `render(tables, params) -> Figure`, pure, and its `Options`."""
