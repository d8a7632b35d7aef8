# Tidy tables of each experiment, tidy tables that need no run, and the tables that people read.


for data in PLAN.of("data"):

    rule:
        name:
            f"data_{data.name}"
        input:
            gate=data.gate,
            listing=ancient(PLAN.listing(data.name)),
            waits=data.waits,
            uses=ancient(data.uses),
        output:
            data.outputs,
        log:
            data.log,
        localrule: True
        params:
            results=PLAN.results,
            name=data.name,
            scores=data.names_in("metrics"),
        shell:
            "(cp {input.listing} {params.results}/experiments/{params.name}.json"
            " && python -m workflow.analysis.tidy"
            " --experiment-file {params.results}/experiments/{params.name}.json"
            " --out {params.results}/tables/data"
            " && python -m workflow.analysis.final_scores {params.results} {params.name} {params.scores}"
            " && python -m workflow.dag.fingerprints {input.gate}) > {log} 2>&1"


for data in PLAN.of("computed"):

    rule:
        name:
            f"data_{data.name}"
        input:
            gate=data.gate,
        output:
            table=data.recipe.outputs[0],
            receipt=data.recipe.receipt,
        log:
            data.log,
        localrule: True
        params:
            module=COMPUTED[data.name],
        shell:
            "(python -m workflow.{params.module} --out {output.table}"
            " && python -m workflow.dag.fingerprints {input.gate}) > {log} 2>&1"


# A table that has a figure of its name is `snakemake table_<name>`.
DRAWN = {figure.name for figure in PLAN.of("figures")}

for table in PLAN.of("tables"):

    rule:
        name:
            table.name if table.name not in DRAWN else f"table_{table.name}"
        input:
            gate=table.gate,
            waits=table.waits,
            uses=ancient(table.uses),
        output:
            table.outputs,
        log:
            table.log,
        localrule: True
        params:
            name=table.name,
            budget=PLAN.selection.budget,
        shell:
            "(python -m workflow.render.draw table {params.name} --budget {params.budget}"
            " && python -m workflow.dag.fingerprints {input.gate}) > {log} 2>&1"


rule tables:
    input:
        [table.outputs for table in PLAN.of("tables")],
