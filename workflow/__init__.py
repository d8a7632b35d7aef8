"""The pipeline: from parameters to runs, tidy tables, figures, tables and the report."""
