"""Sees, stops and refuses file operations of a child, whatever library makes them.

The child asks the kernel (seccomp) to stop at system calls that change files, and its parent
(ptrace) says for each whether it happens. Neither needs root. x86-64 Linux only.
"""

import contextlib
import ctypes
import errno
import os
import signal
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from tests.chaos.children import LIMIT_S, Child, Ended

CALLS = {
    1: "write", 2: "open", 18: "pwrite", 20: "writev", 40: "sendfile", 74: "fsync",
    75: "fdatasync", 76: "truncate", 77: "ftruncate", 82: "rename", 83: "mkdir", 84: "rmdir",
    85: "creat", 86: "link", 87: "unlink", 88: "symlink", 90: "chmod", 91: "fchmod",
    257: "openat", 258: "mkdirat", 263: "unlinkat", 264: "renameat", 265: "linkat",
    266: "symlinkat", 285: "fallocate", 296: "pwritev", 316: "renameat2", 326: "copy_file_range",
}  # fmt: skip
"""System calls that change files, by number."""
DESCRIPTOR = {
    "write": 0, "pwrite": 0, "writev": 0, "pwritev": 0, "sendfile": 0, "fsync": 0, "fdatasync": 0,
    "ftruncate": 0, "fchmod": 0, "fallocate": 0, "copy_file_range": 2,
}  # fmt: skip
"""Which argument is the open file that changes."""
PATHS: dict[str, tuple[tuple[int | None, int], ...]] = {
    "open": ((None, 0),), "creat": ((None, 0),), "truncate": ((None, 0),), "mkdir": ((None, 0),),
    "rmdir": ((None, 0),), "unlink": ((None, 0),), "chmod": ((None, 0),), "openat": ((0, 1),),
    "mkdirat": ((0, 1),), "unlinkat": ((0, 1),), "rename": ((None, 1), (None, 0)),
    "link": ((None, 1), (None, 0)), "symlink": ((None, 1),), "symlinkat": ((1, 2),),
    "renameat": ((2, 3), (0, 1)), "renameat2": ((2, 3), (0, 1)), "linkat": ((2, 3), (0, 1)),
}  # fmt: skip
"""Which arguments are the folder's descriptor (if any) and the path: the one made, the old one."""
GROWS = {
    "write", "pwrite", "writev", "pwritev", "sendfile", "open", "openat", "creat", "mkdir",
    "mkdirat", "link", "linkat", "symlink", "symlinkat", "fallocate", "copy_file_range",
}  # fmt: skip
"""Calls that need room on the disk."""
TORN = {"write", "pwrite"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
REGISTERS = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi",
    "rdi", "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs",
    "gs",
)  # fmt: skip
ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
TRACEME, CONT, SYSCALL, GETREGS, SETREGS, SETOPTIONS = 0, 7, 24, 12, 13, 0x4200
OPTIONS = 0x2 | 0x4 | 0x8 | 0x80 | 0x100000  # fork, vfork, clone, seccomp; killed with the tracer
SECCOMP_STOP = signal.SIGTRAP | (7 << 8)
ALL_CHILDREN = 0x40000000  # __WALL
AT_FDCWD = -100


class Registers(ctypes.Structure):
    """`user_regs_struct`."""

    _fields_ = [(name, ctypes.c_ulonglong) for name in REGISTERS]


class Verdict(Enum):
    """What becomes of an operation."""

    HAPPENS = auto()
    KILLED = auto()
    """The process is killed before it."""
    HALF = auto()
    """Half of the bytes are written, then the process is killed."""


@dataclass(frozen=True)
class Operation:
    """A file operation that is about to happen."""

    number: int
    """From 0, among those below the watched folder."""
    name: str
    path: Path
    old: Path | None = None
    """Of a rename or link: what it is made from."""
    flags: int = 0

    @property
    def grows(self) -> bool:
        """Does it need room on the disk?"""
        if self.name in ("open", "openat"):
            return bool(self.flags & os.O_CREAT) and not self.path.exists()
        return self.name in GROWS


Judge = Callable[[Operation], Verdict | int]
"""A verdict, or the `errno` with which the operation fails."""
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def missing() -> str | None:
    """Why operations cannot be traced here, if so."""
    if os.uname().machine != "x86_64":
        return "file operations are traced on x86-64 only"
    pid = os.fork()
    if not pid:
        os._exit(int(_libc.ptrace(TRACEME, 0, None, None) != 0))
    refused = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return "the system forbids ptrace" if refused else None


def watch(
    words: Sequence[str], folder: Path, judge: Judge, watched: Path, limit: float = LIMIT_S
) -> Ended:
    """Run a command; `judge` is asked about each file operation below the folder `watched`."""
    child = Child.start(words, folder, before=_traced)
    _Tracer(child, judge, watched, limit).follow()
    said, errors = (path.read_text(errors="replace") for path in child.outputs)
    seconds = time.monotonic() - child.began
    return Ended(_Tracer.code, said, errors, seconds)


def _traced() -> None:
    """In the child: have the parent trace us, and the kernel stop at the calls."""
    _libc.ptrace(TRACEME, 0, None, None)
    os.kill(os.getpid(), signal.SIGSTOP)
    count = len(CALLS)
    code = [struct.pack("HBBI", 0x20, 0, 0, 0)]  # the number of the call
    code += [
        struct.pack("HBBI", 0x15, count - i, 0, call) for i, call in enumerate(CALLS)
    ]  # equal: jump to the last
    code += [struct.pack("HBBI", 0x06, 0, 0, answer) for answer in (0x7FFF0000, 0x7FF00000)]
    program = ctypes.create_string_buffer(b"".join(code))
    filters = struct.pack("HxxxxxxQ", len(code), ctypes.addressof(program))
    _libc.prctl(38, 1, 0, 0, 0)  # no new privileges, so that a filter may be set
    if _libc.prctl(22, 2, ctypes.create_string_buffer(filters), 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")


class _Tracer:
    """Follows all threads and processes of a child until the last has ended."""

    code: int | None = None

    def __init__(self, child: Child, judge: Judge, watched: Path, limit: float) -> None:
        self.child, self.judge = child, judge
        self.watched = str(watched.resolve())
        self.end = time.monotonic() + limit
        self.count = 0
        self.killed = False

    def follow(self) -> None:
        """Until the end; the exit code is then known."""
        _, status = os.waitpid(self.child.pid, os.WUNTRACED)
        _ptrace(SETOPTIONS, self.child.pid, OPTIONS)
        _ptrace(CONT, self.child.pid)
        _Tracer.code = None
        with _alarm(self.end - time.monotonic(), self._kill):
            while True:
                try:
                    pid, status = os.waitpid(-1, ALL_CHILDREN)
                except ChildProcessError:
                    break
                if os.WIFSTOPPED(status):
                    self._stopped(pid, status)
                elif pid == self.child.pid:
                    _Tracer.code = os.waitstatus_to_exitcode(status)
                    self.child.kill(group=True)
        if time.monotonic() > self.end:
            _Tracer.code = None

    def _kill(self) -> None:
        self.killed = True
        self.child.kill()
        self.child.kill(group=True)

    def _stopped(self, pid: int, status: int) -> None:
        delivered = os.WSTOPSIG(status)
        if status >> 8 == SECCOMP_STOP:
            self._asked(pid)
            return
        if status >> 16 or delivered in (signal.SIGTRAP, signal.SIGSTOP):
            delivered = 0  # an event, or a new thread's first stop
        _ptrace(CONT, pid, delivered)

    def _asked(self, pid: int) -> None:
        registers = Registers()
        if _ptrace(GETREGS, pid, ctypes.addressof(registers)):
            return  # it was killed meanwhile
        operation = None if self.killed else self._operation(pid, registers)
        verdict = self.judge(operation) if operation else Verdict.HAPPENS
        if verdict is Verdict.KILLED:
            self._kill()
            return
        if verdict is Verdict.HALF:
            registers.rdx = max(1, registers.rdx // 2)
            _ptrace(SETREGS, pid, ctypes.addressof(registers))
            _ptrace(SYSCALL, pid)
            os.waitpid(pid, ALL_CHILDREN)
            self._kill()
            return
        if isinstance(verdict, int):
            registers.orig_rax = 2**64 - 1
            registers.rax = 2**64 - verdict
            _ptrace(SETREGS, pid, ctypes.addressof(registers))
        _ptrace(CONT, pid)

    def _operation(self, pid: int, registers: Registers) -> Operation | None:
        """What a process is about to do, if it is below the watched folder."""
        name = CALLS[registers.orig_rax]
        arguments = [getattr(registers, each) for each in ARGUMENTS]
        flags = {"open": arguments[1], "openat": arguments[2], "creat": WRITING}.get(name, 0)
        if name in ("open", "openat") and not flags & WRITING:
            return None
        try:
            if name in DESCRIPTOR:
                paths = [Path(f"/proc/{pid}/fd/{arguments[DESCRIPTOR[name]]}").readlink()]
            else:
                paths = [_path(pid, arguments, *where) for where in PATHS[name]]
        except OSError:
            return None
        if not any(f"{path}/".startswith(f"{self.watched}/") for path in paths):
            return None
        number, self.count = self.count, self.count + 1
        old = paths[1] if len(paths) > 1 else None
        return Operation(number, name, paths[0], old, int(flags))


def _path(pid: int, arguments: Sequence[int], folder: int | None, place: int) -> Path:
    """An argument that is a path, made absolute."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(arguments[place])
        text = os.fsdecode(memory.read(4096).partition(b"\0")[0])
    if text.startswith("/"):
        return Path(text)
    number = AT_FDCWD if folder is None else ctypes.c_int(arguments[folder]).value
    base = "cwd" if number == AT_FDCWD else f"fd/{number}"
    return Path(os.path.normpath(Path(f"/proc/{pid}/{base}").readlink() / text))


def _ptrace(request: int, pid: int, data: int = 0) -> int:
    return int(_libc.ptrace(request, pid, None, ctypes.c_void_p(data)))


@contextlib.contextmanager
def _alarm(seconds: float, ring: Callable[[], None]) -> Iterator[None]:
    """Call `ring` after so many seconds."""
    before = signal.signal(signal.SIGALRM, lambda *_: ring())
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def full_from(first: int, error: int = errno.ENOSPC) -> Judge:
    """A disk that is full from an operation on, until the command ends."""

    def judge(operation: Operation) -> Verdict | int:
        return error if operation.number >= first and operation.grows else Verdict.HAPPENS

    return judge
