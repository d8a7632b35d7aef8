# One DVC call for the artifacts of all runs, once they are finished. Local, as DVC's cache is.


for version in PLAN.of("version"):

    rule version:
        input:
            ancient(version.needs),
        output:
            touch(version.stamp),
        log:
            version.log,
        localrule: True
        params:
            folder=PLAN.results,
            fingerprint=version.fingerprint_file,
            provenance=version.provenance,
        shell:
            recorded(
                "python -m workflow job version {params.folder} {params.fingerprint}"
            )


# The metrics, plots and artifacts that DVC shows.


for description in PLAN.of("describe"):

    rule describe:
        input:
            ancient(description.needs),
        output:
            touch(description.stamp),
        log:
            description.log,
        localrule: True
        params:
            fingerprint=description.fingerprint_file,
            provenance=description.provenance,
        shell:
            recorded("python -m workflow job results-file {params.fingerprint}")
