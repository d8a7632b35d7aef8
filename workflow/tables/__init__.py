"""One module per table: `build(frames, params) -> DataFrame`, pure, and its `Options`."""
