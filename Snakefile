# The whole pipeline: resolve -> train -> tabulate -> draw -> version -> report -> manifest.
#
#   snakemake                                        everything of the smoke budget
#   snakemake --config budget=mini experiment=popgym benchmark=popgym seeds=1
#   snakemake runs | figures | tables | fig05        parts of it
#
# The plan decides by content what is up to date and keeps a stamp of each such target; every input is
# `ancient`, so Snakemake makes what has no stamp and compares no file times. See docs/pipeline.md.
import os
import sys

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.27")

sys.path.insert(0, workflow.basedir)
# Jobs run the Python that runs Snakemake, whether or not its environment is activated.
shell.prefix(f'export PATH="{os.path.dirname(sys.executable)}:$PATH"; ')

from amago2.errors import ConfigError
from workflow.estimate.needs import needs
from workflow.config.experiments import Selection
from workflow.dag.plan import plan

try:
    PLAN = plan(Selection.parse(config))
except ConfigError as error:
    raise WorkflowError(str(error))
# Not in a job on a cluster's node, which reads the Snakefile again while this process works.
if workflow.is_main_process:
    PLAN.write()


# Used with --software-deployment-method apptainer only.
container: "containers/amago2.sif"


# On a cluster, all but training is done where the command was given: it takes seconds.
localrules:
    all,
    runs,
    figures,
    tables,


rule all:
    default_target: True
    input:
        [target.stamp for target in PLAN.targets],


include: "workflow/rules/common.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/version.smk"
include: "workflow/rules/report.smk"
