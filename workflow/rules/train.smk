# A finished run is never trained again: the hash in its name is that of all that decides it.
# Runs that are finished already are no inputs of anything, so Snakemake does not look at them.


rule train:
    output:
        f"{PLAN.results}/runs/{{run}}/record.json",
    log:
        f"{PLAN.results}/.logs/runs/{{run}}.log",
    wildcard_constraints:
        run="|".join(PLAN.runs) or "none",
    threads: lambda wildcards: PLAN.runs[wildcards.run].config.threads
    resources:
        gpu=lambda wildcards: int(PLAN.runs[wildcards.run].config.device == "cuda"),
    params:
        settings=lambda wildcards: PLAN.runs[wildcards.run].settings,
        folder=lambda wildcards: PLAN.runs[wildcards.run].folder,
        scratch=lambda wildcards: PLAN.runs[wildcards.run].scratch,
    shell:
        "python -m workflow.train {params.settings} --out {params.folder}"
        " --scratch {params.scratch} > {log} 2>&1"


rule runs:
    input:
        [run.record for run in PLAN.pending],
