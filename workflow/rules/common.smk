# What several rules share.


def logged(command):
    """The shell command of a job: it prints to the log, to which a failure adds the exit code."""
    return (
        f"{{{{ {command}; }}}} > {{log}} 2>&1"
        ' || {{ code=$?; echo "exit code $code" >> {log}; exit $code; }}'
    )


def recorded(command):
    """The same of a target's job: no provenance record exists until all outputs do."""
    return logged(
        f"rm -f {{params.provenance}} && {command}"
        " && python -m workflow job record {params.fingerprint}"
    )
