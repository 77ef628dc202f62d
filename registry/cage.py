"""Puts a process behind limits and becomes it. Run as a file by registry.protoc, never imported.

A program of its own, since code between fork and exec is unsafe in a process with threads. It knows
nothing of Spoke and imports little, for it starts with every compilation.

Arguments: seconds of CPU, bytes of memory, bytes of a file, the parent's process id, the command.
"""

import ctypes
import os
import resource
import signal
import sys

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
NO_PARENT = 125


def lower(limit: int, value: int) -> None:
    """At most `value`, or less where less is set already."""
    hard = resource.getrlimit(limit)[1]
    wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
    try:
        resource.setrlimit(limit, (wanted, wanted))
    except (OSError, ValueError):
        # macOS refuses to limit the address space. The other limits hold.
        if sys.platform == "linux":
            raise


def leave_network() -> None:
    """Without any network from here on, where the kernel permits that; elsewhere nothing."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)


def follow(parent: int) -> None:
    """Killed when the parent dies, also by `kill -9`; ends at once when it is dead already."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(NO_PARENT)


def main() -> None:
    cpu, memory, file_size, parent = (int(argument) for argument in sys.argv[1:5])
    command = sys.argv[5:]
    if sys.platform == "linux":
        leave_network()
        follow(parent)
    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_CPU, cpu)
    lower(resource.RLIMIT_FSIZE, file_size)
    lower(resource.RLIMIT_AS, memory)
    os.execve(command[0], command, {})  # noqa: S606 - the command is registry.protoc's


if __name__ == "__main__":
    main()
