"""Making it: the DAG run by Snakemake, runs launched, watched and verified."""
