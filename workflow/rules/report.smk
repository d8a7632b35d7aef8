# The page that a person reads, and the digests of all that was made.


for report in PLAN.of("report"):

    rule report:
        input:
            gate=report.gate,
            waits=report.waits,
            uses=ancient(report.uses),
        output:
            report.outputs,
        log:
            report.log,
        localrule: True
        params:
            budget=PLAN.selection.budget,
        shell:
            "(python -m workflow.report.page --budget {params.budget}"
            " && python -m workflow.dag.fingerprints {input.gate}) > {log} 2>&1"


for manifest in PLAN.of("manifest"):

    rule manifest:
        input:
            gate=manifest.gate,
            waits=manifest.waits,
            uses=ancient(manifest.uses),
        output:
            manifest.outputs,
        log:
            manifest.log,
        localrule: True
        params:
            folder=PLAN.results,
        shell:
            "(python -m workflow.dag.manifest {params.folder}"
            " && python -m workflow.dag.fingerprints {input.gate}) > {log} 2>&1"
