"""Stands in for `amago2.cli` in a copy of the project: "trains" by waiting, and can be resumed.

Each run takes `FAKE_SECONDS`; the variant in `FAKE_FAILS` fails. SIGTERM stops it in order.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import yaml

from amago2 import run_record

settings, options = Path(sys.argv[2]), dict(zip(sys.argv[3::2], sys.argv[4::2], strict=True))
config = yaml.safe_load(settings.read_text())
out, scratch = Path(options["--out"]), Path(options["--scratch"])
scratch.mkdir(parents=True, exist_ok=True)
print(f"training {out}", flush=True)
if config["variant"] == os.environ.get("FAKE_FAILS"):
    sys.exit("it went wrong: for no good reason")
state = scratch / "progress.json"
done = json.loads(state.read_text())["done"] if state.exists() else 0.0
(scratch / "began").open("a").write(f"{done}\n")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
while done < 1:
    time.sleep(0.1)
    done += 0.1 / float(os.environ.get("FAKE_SECONDS", "0.1"))
    part = state.with_suffix(".part")
    part.write_text(json.dumps({"done": min(done, 1)}))
    part.replace(state)
out.mkdir(parents=True, exist_ok=True)
(out / "evaluations.csv").write_text(
    "split,rollout,task,attempt,step,metric,value\ntrain,0,a,-1,10,return,0.5\n"
)
(out / "metrics.csv").write_text("step,name,key,value\n")
(out / "compute.csv").write_text("time_s,step,update,name,value\n")
(out / "checkpoint").mkdir(exist_ok=True)
(out / "checkpoint" / "data").write_text(str(out))
record = {
    "began": (scratch / "began").read_text(), "hash": "0" * 8, "training_version": 1,
    "started": "2024-01-01", "ended": "2024-01-01", "resumptions": 0, "resumed": "never",
    "dropped_rollouts": 0, "wall_s": 1.0, "cpu_s": 1.0,
    "env_steps": 1, "updates": 1,
}  # fmt: skip
provenance = json.loads(Path(options["--provenance"]).read_text())
(out / "record.json").write_text(run_record.seal(record | provenance | run_record.digests(out)))
