# A finished run is never trained again: the hash in its name is that of all that decides it.
# Runs that are finished already are no inputs of anything, so Snakemake does not look at them.


rule train:
    input:
        image=ancient(PLAN.image.record) if PLAN.image else [],
    output:
        f"{PLAN.results}/runs/{{run}}/record.json",
    log:
        f"{PLAN.results}/.logs/runs/{{run}}.log",
    wildcard_constraints:
        run="|".join(PLAN.runs) or "none",
    threads: lambda wildcards: needs(PLAN.runs[wildcards.run].config).cores
    resources:
        gpu=lambda wildcards: needs(PLAN.runs[wildcards.run].config).gpus,
        gpu_mb=lambda wildcards: needs(PLAN.runs[wildcards.run].config).gpu_bytes
        // 10**6,
        mem_mb=lambda wildcards: needs(PLAN.runs[wildcards.run].config).host_bytes
        // 10**6,
        scratch_mb=lambda wildcards: needs(
            PLAN.runs[wildcards.run].config
        ).scratch_bytes
        // 10**6,
    params:
        settings=lambda wildcards: PLAN.runs[wildcards.run].settings,
        folder=lambda wildcards: PLAN.runs[wildcards.run].folder,
        scratch=lambda wildcards: PLAN.runs[wildcards.run].scratch,
        image=f"--image {PLAN.image.record}" if PLAN.image else "",
    shell:
        # The trainer ends by itself, with a checkpoint, and the shell after it.
        "trap : TERM; "
        + logged(
            "python -m workflow job train {params.settings} --out {params.folder}"
            " --scratch {params.scratch} --cores {threads} {params.image}"
        )


rule runs:
    input:
        [run.record for run in PLAN.pending],


# The image that runs are trained in, unless they are on the host.


if PLAN.image:

    localrules:
        image,

    rule image:
        output:
            PLAN.image.record,
        log:
            PLAN.results / ".logs" / "image.log",
        params:
            runtime=PLAN.selection.runtime,
        shell:
            logged("python -m workflow job image {params.runtime}")
