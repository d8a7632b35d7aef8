# One rule per figure, named as the figure: `snakemake fig05`.


for figure in PLAN.of("figures"):

    rule:
        name:
            figure.name
        input:
            ancient(figure.needs),
        output:
            touch(figure.stamp),
        log:
            figure.log,
        localrule: True
        params:
            name=figure.name,
            budget=PLAN.selection.budget,
            fingerprint=figure.fingerprint_file,
            provenance=figure.provenance,
        shell:
            recorded(
                "python -m workflow job figure {params.name} --budget {params.budget}"
            )


rule figures:
    input:
        [figure.stamp for figure in PLAN.of("figures")],
