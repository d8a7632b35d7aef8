# Tidy tables of each experiment, tidy tables that need no run, and the tables that people read.


for data in PLAN.of("data"):

    rule:
        name:
            f"data_{data.name}"
        input:
            ancient(data.needs),
        output:
            touch(data.stamp),
        log:
            data.log,
        localrule: True
        params:
            results=PLAN.results,
            listing=PLAN.listing(data.name),
            scores=data.names_in("metrics"),
            fingerprint=data.fingerprint_file,
            provenance=data.provenance,
        shell:
            recorded(
                "python -m workflow job tidy {params.listing} {params.results} {params.scores}"
            )


for data in PLAN.of("computed"):

    rule:
        name:
            f"data_{data.name}"
        input:
            ancient(data.needs),
        output:
            touch(data.stamp),
        log:
            data.log,
        localrule: True
        params:
            name=data.name,
            table=data.fingerprint.outputs[0],
            fingerprint=data.fingerprint_file,
            provenance=data.provenance,
        shell:
            recorded(
                "python -m workflow job computed {params.name} --out {params.table}"
            )


# A table that has a figure of its name is `snakemake table_<name>`.
FIGURE_NAMES = {figure.name for figure in PLAN.of("figures")}

for table in PLAN.of("tables"):

    rule:
        name:
            table.name if table.name not in FIGURE_NAMES else f"table_{table.name}"
        input:
            ancient(table.needs),
        output:
            touch(table.stamp),
        log:
            table.log,
        localrule: True
        params:
            name=table.name,
            budget=PLAN.selection.budget,
            fingerprint=table.fingerprint_file,
            provenance=table.provenance,
        shell:
            recorded(
                "python -m workflow job table {params.name} --budget {params.budget}"
            )


rule tables:
    input:
        [table.stamp for table in PLAN.of("tables")],
