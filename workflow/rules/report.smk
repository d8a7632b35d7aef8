# The page that a person reads, and the digests of everything that was made.


for report in PLAN.of("report"):

    rule report:
        input:
            ancient(report.needs),
        output:
            touch(report.stamp),
        log:
            report.log,
        localrule: True
        params:
            budget=PLAN.selection.budget,
            fingerprint=report.fingerprint_file,
            provenance=report.provenance,
        shell:
            recorded("python -m workflow job report --budget {params.budget}")


for manifest in PLAN.of("manifest"):

    rule manifest:
        input:
            ancient(manifest.needs),
        output:
            touch(manifest.stamp),
        log:
            manifest.log,
        localrule: True
        params:
            folder=PLAN.results,
            fingerprint=manifest.fingerprint_file,
            provenance=manifest.provenance,
        shell:
            recorded("python -m workflow job manifest {params.folder}")
