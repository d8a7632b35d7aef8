"""The measured part of docs/performance.md, from the measurements alone."""

from collections.abc import Callable, Sequence
from typing import Any

from workflow.bench import published
from workflow.bench.axes import AXES, slope

Row = dict[str, Any]
GIB = 2**30
MODES = {"plain": "plain", "float32": "float32", "bfloat16": "bfloat16"}


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """A Markdown table whose first `left` columns are text."""
    rule = ["---" if i < left else "---:" for i in range(len(head))]
    return ["| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)]


def _against(value: float, other: float | None) -> str:
    return f"{value / other:.1f}" if other else "-"


def _plain(row: Row, rows: Sequence[Row], keys: Sequence[str]) -> Row:
    """The plain row of the same group."""
    same = [r for r in rows if all(r[k] == row[k] for k in keys) and r["mode"] == "plain"]
    return same[0]


def learner(rows: Sequence[Row]) -> list[str]:
    """Updates of the sizes that the published implementation was timed at."""
    lines = []
    for r in rows:
        base = _plain(r, rows, ("size", "variant"))["tokens_per_s"]
        known = published.LEARNER[r["size"], r["variant"]]
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
                f"{r['peak_gib']:.1f}",
            ]
        )
    head = ["size", "variant", "", "s", "updates/s", "tokens/s", "x plain", "x published"]
    return table([*head, "process's peak (GiB)"], lines, 3)


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
        base = _plain(r, rows, ("width", "layers", "count"))["steps_per_s"]
        net = r["width"], r["layers"], r["count"]
        known = published.ACTORS.get(net) if r["measure"] == "actors" else None
        lines.append(
            [
                f"{r['width']} wide, {r['layers']} layers",
                r["count"],
                {"plain": "whole sequence", "cached": "cached"}[r["mode"]],
                f"{r['steps_per_s']:,.0f}",
                _against(r["steps_per_s"], base),
                _against(r["steps_per_s"], known),
            ]
        )
    return table(["net", "actors", "", "steps/s", "x plain", "x published"], lines, 1)


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


def learning(rows: Sequence[Row]) -> list[str]:
    """Time until the scores of the published implementation are reached."""
    lines = []
    for r in rows:
        seconds, said = published.LEARNING[r["row"]]
        task, variant = r["row"].split("/")
        scores = ", ".join(f"{score:.2f}" for score in r["scores"].values())
        reached = r["cpu_s"] is not None
        lines.append(
            [
                task.replace("_", " "),
                f"`{variant}`",
                f"{r['cpu_s']:.0f}" if reached else "not reached",
                f"{r['updates']:,} updates, {r['steps']:,} steps" if reached else "-",
                f"{seconds} ({said})",
                f"{r['cpu_s'] / seconds:.2f}" if reached else "-",
                f"{scores} after {r['all_updates']:,} updates, {r['all_cpu_s']:.0f} s",
            ]
        )
    head = ["task", "variant", "CPU s to the score", "by then", "published s", "of published"]
    return table([*head, "whole run: scores"], lines, 2)


PARTS: dict[str, tuple[str, Callable[[Sequence[Row]], list[str]]]] = {
    "learner": ("Learner: one update, batch in memory, 2 threads", learner),
    "paper": ("Learner at the paper's sizes: Ind./Ind., smaller batches, 2 threads", paper),
    "actors": ("Actors: policy, environment (RepeatPreviousEasy) and replay, 1 thread", actors),
    "policy": ("Actors: the policy's Transformer alone, context 128, 1 thread", actors),
    "replay": ("Replay on disk, page cache hot", replay),
    "run": ("Whole runs: the tiny size of the learning checks, 1 thread", run),
    "scaling": ("How costs grow", scaling),
    "memory": ("Memory of an update of Ind./Ind.: an account of its tensors (GiB)", memory),
    "learning": ("Learning: CPU seconds of one thread", learning),
}


def render(data: dict[str, Any]) -> str:
    """All parts that have been measured, in order."""
    lines = []
    for part, (title, tabulate) in PARTS.items():
        if part in data:
            measured = data[part]
            lines += [f"### {title}", "", measured["about"], "", *tabulate(measured["rows"]), ""]
    return "\n".join(lines).strip()
