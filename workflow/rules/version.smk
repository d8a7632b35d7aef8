# One DVC call for the bulk of all runs, once they are finished. Local, since the cache is.


for version in PLAN.of("version"):

    localrules:
        version,

    rule version:
        input:
            gate=version.gate,
            waits=version.waits,
            uses=ancient(version.uses),
        output:
            version.outputs,
        log:
            version.log,
        params:
            folder=PLAN.results,
        shell:
            "(python -m workflow.dvc.add {params.folder} {input.gate}"
            " && python -m workflow.dag.fingerprints {input.gate})"
            " > {log} 2>&1"


# What DVC is told of metrics, plots and artifacts, once they are there.


for described in PLAN.of("describe"):

    rule describe:
        input:
            gate=described.gate,
            waits=described.waits,
            uses=ancient(described.uses),
        output:
            described.outputs,
        log:
            described.log,
        localrule: True
        shell:
            "(python -m workflow.dvc.results_file {input.gate} && python -m workflow.dag.fingerprints {input.gate})"
            " > {log} 2>&1"
