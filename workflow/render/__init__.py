"""How figures look and tables are written: style, panels, files; the same bytes every time."""
