"""Train in a child process that is killed, ten times over, then to the end: `killed.py CONFIG OUT`.

The children are forked before PyTorch has computed anything, so that a start costs no import.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from amago2.config.schema import load
from amago2.training.amago_trainer import train


def child(config: Path, out: Path) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            train(load(config), out)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    return pid


def main(config: Path, out: Path, seed: int) -> None:
    chance = random.Random(seed)
    kills = 0
    while kills < 10:
        pid = child(config, out)
        time.sleep(chance.uniform(0.05, 0.6))
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        if not os.WIFSIGNALED(status):
            break  # finished, or failed: the last child tells
        kills += 1
    status = os.waitpid(child(config, out), 0)[1]
    print(kills)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
