# What several rules share.


def recorded(command):
    """The shell command of a target's job: no provenance record exists until all outputs do."""
    return (
        f"(rm -f {{params.provenance}} && {command}"
        " && python -m workflow job record {params.fingerprint}) > {log} 2>&1"
    )
