# One rule per figure, named as the figure: `snakemake fig05`.


for figure in PLAN.of("figures"):

    rule:
        name:
            figure.name
        input:
            gate=figure.gate,
            waits=figure.waits,
            uses=ancient(figure.uses),
        output:
            figure.outputs,
        log:
            figure.log,
        localrule: True
        params:
            name=figure.name,
            budget=PLAN.selection.budget,
        shell:
            "(python -m workflow.render.draw figure {params.name} --budget {params.budget}"
            " && python -m workflow.dag.fingerprints {input.gate}) > {log} 2>&1"


rule figures:
    input:
        [figure.outputs for figure in PLAN.of("figures")],
