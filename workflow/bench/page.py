"""The measured part of docs/performance.md, from the measurements alone."""

from collections.abc import Callable, Sequence
from typing import Any

from workflow.analysis.statistics import t_interval
from workflow.bench import published
from workflow.bench.axes import AXES, slope
from workflow.bench.goals import evaluate, median_cpu_s

Row = dict[str, Any]
GIB = 2**30
MODES = {"plain": "whole sequence", "cached": "cached", "bfloat16": "cached, bfloat16"}
NETS = {"tiny": "64 wide, 2 layers, 1 thread", "medium": "256 wide, 3 layers, 2 threads"}


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """A Markdown table whose first `left` columns are text."""
    rule = ["---" if i < left else "---:" for i in range(len(head))]
    return ["| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)]


def _against(value: float, other: float | None) -> str:
    return f"{value / other:.1f}" if other else "-"


def _span(row: Row, name: str, known: float | None) -> str:
    """The multiples of the published value in the slowest and the fastest run."""
    each = row.get("runs", {}).get(name)
    return f"{min(each) / known:.1f} to {max(each) / known:.1f}" if each and known else "-"


def _plain(row: Row, rows: Sequence[Row], keys: Sequence[str]) -> Row:
    """The plain row of the same group."""
    same = [r for r in rows if all(r[k] == row[k] for k in keys) and r["mode"] == "plain"]
    return same[0]


def learner(rows: Sequence[Row]) -> list[str]:
    """Updates of the sizes that the published implementation was timed at."""
    lines = []
    for r in rows:
        base = _plain(r, rows, ("size", "variant"))["tokens_per_s"]
        known = published.LEARNER.get((r["size"], r["variant"]))
        lines.append(
            [
                r["size"],
                f"`{r['variant']}`",
                r["mode"],
                f"{r['seconds']:.3f}",
                f"{1 / r['seconds']:.2f}",
                f"{r['tokens_per_s']:,.0f}",
                _against(r["tokens_per_s"], base),
                _against(r["tokens_per_s"], known),
                _span(r, "tokens_per_s", known),
                f"{r['peak_gib']:.1f}",
            ]
        )
    head = ["size", "variant", "", "s", "updates/s", "tokens/s", "x plain", "x published"]
    return table([*head, "in the runs", "process's peak (GiB)"], lines, 3)


def paper(rows: Sequence[Row]) -> list[str]:
    """Updates at the paper's sizes."""
    lines = [
        [
            f"`{r['size']}`",
            r["mode"],
            r["batch"],
            f"{r['seconds']:.2f}",
            f"{r['tokens_per_s']:,.0f}",
            f"{r['tflop_per_s']:.3f}",
            f"{r['paper_tflop']:.2f}",
            f"{r['paper_tflop'] / r['tflop_per_s']:,.0f}",
        ]
        for r in rows
    ]
    head = ["benchmark", "", "batch here", "s", "tokens/s", "TFLOP/s"]
    return table([*head, "TFLOP of the paper's update", "s of it at this rate"], lines, 2)


def actors(rows: Sequence[Row]) -> list[str]:
    """Steps of actors, with their environments or of the policy alone (nothing is published)."""
    lines = []
    for r in rows:
        base = _plain(r, rows, ("net", "count"))["steps_per_s"]
        net = r["net"], r["count"]
        known = published.ACTORS.get(net) if r["measure"] == "actors" else None
        lines.append(
            [
                NETS[r["net"]],
                r["count"],
                MODES[r["mode"]],
                f"{r['steps_per_s']:,.0f}",
                _against(r["steps_per_s"], base),
                _against(r["steps_per_s"], known),
                _span(r, "steps_per_s", known),
            ]
        )
    head = ["net", "actors", "", "steps/s", "x plain", "x published", "in the runs"]
    return table(head, lines, 1)


def replay(rows: Sequence[Row]) -> list[str]:
    """Trajectories written and sub-sequences sampled."""
    lines = []
    for r in rows:
        base, known = _plain(r, rows, ("kind",)), published.REPLAY[r["kind"]]
        cells = [r["kind"], {"plain": "a .npz each", "shards": "shards"}[r["mode"]]]
        for name, other in zip(("written_per_s", "sampled_per_s"), known, strict=True):
            cells += [f"{r[name]:,.0f}", _against(r[name], base[name]), _against(r[name], other)]
        lines.append(cells)
    ratios = ["x plain", "x published"]
    return table(
        ["trajectories", "", "written/s", *ratios, "sampled/s", *ratios], lines, 2
    )  # fmt: skip


def run(rows: Sequence[Row]) -> list[str]:
    """Whole training runs, and how long they take to begin."""
    lines = [
        [
            f"`{r['variant']}`",
            r["mode"],
            *(f"{r[k]:,.0f}" for k in ("steps_per_s", "updates_per_s", "whole_steps_per_s")),
        ]
        for r in rows
        if r["measure"] == "run"
    ]
    head = ["variant", "", "steps/s, collecting", "updates/s, learning", "steps/s, both"]
    begun = [r for r in rows if r["measure"] == "startup"]
    said = [
        f"From a process's start to its first environment step: {r['first_step_s']:.1f} s; "
        f"to its first update: {r['first_update_s']:.1f} s."
        for r in begun
    ]
    return [*table(head, lines, 2), "", *said]


def scaling(rows: Sequence[Row]) -> list[str]:
    """Fitted slopes beside the expected law."""
    lines = []
    for r in rows:
        axis, (first, *_, last) = AXES[r["axis"]], list(r["points"].items())
        lines.append(
            [
                axis.label,
                axis.cost,
                f"{first[0]}: {first[1]:.4f}, {last[0]}: {last[1]:.4f}",
                f"{slope(r['points']):.2f}",
                axis.law,
            ]
        )
    head = ["against", "cost", "from, to", "fitted slope", "expected"]
    return [*table(head, lines, 5), "", "![Cost against size](images/performance_scaling.png)"]


def gpu(rows: Sequence[Row]) -> list[str]:
    """The paper's own batches on a GPU, its actors, and kernels of the largest size's update."""
    lines = [
        [
            f"`{r['size']}`",
            r["mode"],
            r["how"],
            f"{1 / r['seconds']:.1f}" if "seconds" in r else "does not fit",
            f"{r['tflop_per_s']:.1f}" if "seconds" in r else "-",
            f"{r['utilisation']:.0%}" if "utilisation" in r else "-",
            f"{r['allocated_gib']:.1f}" if "allocated_gib" in r else "-",
            f"{r['first_s']:.1f}" if "seconds" in r else "-",
        ]
        for r in rows
        if r["measure"] == "gpu"
    ]
    head = ["benchmark", "", "", "updates/s", "TFLOP/s", "of the data sheet's", "peak (GiB)"]
    acting = [
        f"{r['count']} actors of the medium net, {r['mode']}: {r['steps_per_s']:,.0f} steps/s"
        for r in rows
        if r["measure"] == "gpu_actors"
    ]
    profiles = []
    for r in rows:
        if r["measure"] == "profile":
            kernels = [[f"`{name}`", f"{share:.1%}"] for name, share in r["shares"].items()]
            said = (
                f"The update of the largest size in {r['mode']}: kernels run {r['busy']:.0%} of it."
            )
            profiles += ["", said, "", *table(["kernel", "of all kernels' time"], kernels, 1)]
    body = table([*head, "first update (s)"], lines, 3)
    return [*body, "", *(f"- {one}." for one in acting), *profiles]


def memory(rows: Sequence[Row]) -> list[str]:
    """The account of an update's tensors, and how it compares with the allocator's."""
    parts = ("weights and targets", "gradients", "moments", "batch", "kept for backward")
    lines = [
        [
            f"`{r['size']}`",
            r["mode"],
            str(r["recompute_frames"] or "-"),
            *(f"{r[part] / GIB:.2f}" for part in (*parts, "temporary", "peak")),
        ]
        for r in rows
        if r["measure"] == "account"
    ]
    head = ["benchmark", "", "recompute_frames", *parts, "temporary", "peak (GiB)"]
    checks = [
        f"{r['size']} ({r['variant']}, batch {r['batch']}): account {r['accounted'] / 2**20:.1f} "
        f"MiB, allocator {r['measured'] / 2**20:.1f} MiB"
        for r in rows
        if r["measure"] == "check"
    ]
    said = "The account against PyTorch's allocator, of the same updates done on the CPU:"
    return [*table(head, lines, 2), "", said, "", *(f"- {check}." for check in checks)]


def precision(rows: Sequence[Row]) -> list[str]:
    """Whether bfloat16 learns as float32 does: areas under learning curves."""
    lines, intervals = [], {}
    for mode in ("float32", "bfloat16"):
        same = [r for r in rows if r["mode"] == mode]
        areas = [r["area"] for r in same]
        intervals[mode] = mean, low, high = t_interval([areas])
        lines.append(
            [
                mode,
                ", ".join(f"{area:.3f}" for area in areas),
                f"{mean:.3f} [{low:.3f}, {high:.3f}]",
                ", ".join(f"{r['last']:.2f}" for r in same),
            ]
        )
    one, other = intervals.values()
    overlap = one[1] <= other[2] and other[1] <= one[2]
    head = ["products", "area, seeds 0 to 2", "mean [95 % interval]", "last evaluations"]
    return [*table(head, lines, 4), "", f"The intervals {'' if overlap else 'do not '}overlap."]


def learning(rows: Sequence[Row]) -> list[str]:
    """Time until the scores of the published implementation are reached, by row and seed."""
    lines = []
    for name, (seconds, said) in published.LEARNING.items():
        same = [r for r in rows if r["row"] == name]
        if not same:
            continue
        task, variant = name.split("/")
        middle = median_cpu_s(same)
        missed = [r for r in same if r["cpu_s"] is None]
        lines.append(
            [
                task.replace("_", " "),
                f"`{variant}`",
                f"{middle:.0f}" if middle else "not reached",
                ", ".join(f"{r['cpu_s']:.0f}" if r["cpu_s"] else "-" for r in same),
                ", ".join(f"{r['updates']:,}" if r["cpu_s"] else "-" for r in same),
                f"{seconds} ({said})",
                f"{middle / seconds:.2f}" if middle else "-",
                "; ".join(_scores(r) for r in missed) or "-",
            ]
        )
    head = ["task", "variant", "CPU s to the score, median", "each seed", "updates by then"]
    head += ["published s", "of published", "scores of seeds that never got there"]
    return table(head, lines, 2)


def _scores(row: Row) -> str:
    each = " ".join(f"{score:.2f}" for score in row["scores"].values())
    return f"{each} (seed {row['seed']}, {row['updates']:,} updates, {row['all_cpu_s']:.0f} s)"


def checks(rows: Sequence[Row]) -> list[str]:
    """What checking the environments costs."""
    lines = [
        [
            r["count"],
            f"{r['checked_per_s']:,.0f}",
            f"{r['unchecked_per_s']:,.0f}",
            f"{r['cost']:.1%}",
        ]
        for r in rows
    ]
    return table(["actors", "steps/s, checked", "steps/s, unchecked", "cost"], lines, 0)


PARTS: dict[str, tuple[str, Callable[[Sequence[Row]], list[str]]]] = {
    "learner": ("Learner: one update, batch in memory, 2 threads", learner),
    "variants": ("Learner: the variants between, for which nothing is published", learner),
    "paper": ("Learner at the paper's sizes: Ind./Ind., smaller batches, 2 threads", paper),
    "actors": ("Actors: policy, environment (RepeatPreviousEasy) and replay", actors),
    "checks": ("Acting with and without checks of what environments return, CPU time", checks),
    "policy": ("Actors: the policy's Transformer alone, context 128", actors),
    "replay": ("Replay on disk, page cache hot", replay),
    "run": ("Whole runs: the tiny size of the learning checks, 1 thread", run),
    "scaling": ("How costs grow", scaling),
    "gpu": ("Learner at the paper's sizes on a GPU: Ind./Ind.", gpu),
    "memory": ("Memory of an update of Ind./Ind.: an account of its tensors (GiB)", memory),
    "precision": (
        "Learning curves of bfloat16 and float32: mean height on RepeatPreviousEasy, Dep./Dep.",
        precision,
    ),
    "learning": ("Learning: CPU seconds of one thread in bfloat16, two runs at once", learning),
}


def _one(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1f}"


def render(data: dict[str, Any]) -> str:
    """What was aimed at and reached, then all parts that have been measured, in order."""
    goals = [
        [goal.what, f"{goal.least:g}", _one(goal.float32), _one(goal.bfloat16), goal.reached]
        for goal in evaluate(data)
    ]
    head = ["", "aimed at, x published", "float32, the default", "bfloat16", "reached"]
    lines = ["### Against the published implementation", "", *table(head, goals, 1), ""]
    for part, (title, tabulate) in PARTS.items():
        if part in data:
            measured = data[part]
            lines += [f"### {title}", "", measured["about"], "", *tabulate(measured["rows"]), ""]
    return "\n".join(lines).strip()
