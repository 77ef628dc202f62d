"""Puts a process behind limits and becomes it. Run as a file by registry.protoc, never imported.

A program of its own, since code between fork and exec is unsafe in a process with threads. It knows
nothing of Spoke and imports little, for it starts with every compilation.

Arguments: seconds of CPU, bytes of memory, bytes of a file, the parent's process id, the command.
"""

import ctypes
import os
import resource
import signal
import struct
import sys

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
NO_PARENT = 125

# By machine: the audit architecture, and the numbers of the calls that make sockets, or could get at
# another process's: socket, socketpair, ptrace, process_vm_writev, io_uring_setup, pidfd_getfd.
FORBIDDEN = {
    "x86_64": (0xC000003E, (41, 53, 101, 311, 425, 438)),
    "aarch64": (0xC00000B7, (198, 199, 117, 271, 425, 438)),
}
X32 = 0x40000000  # the first number of the x32 calls, which are the same once more
LOAD, EQUAL, AT_LEAST, ANSWER = 0x20, 0x15, 0x35, 0x06  # instructions of classic BPF
NUMBER, ARCHITECTURE = 0, 4  # where in what a filter sees
ALLOW, DENY, KILL = 0x7FFF0000, 0x00050000 | 13, 0x80000000  # DENY: the call fails with EACCES


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


def forbid_sockets() -> None:
    """No socket can be made from here on, by whatever is run, where the kernel takes filters.

    The second wall, for where the network cannot be left. After `no_new_privs`, which it needs.
    """
    machine = os.uname().machine
    if machine not in FORBIDDEN or struct.calcsize("P") != 8:
        return
    # Tried by a child first: where programs of one machine are run by another, such a filter kills.
    child = os.fork()
    if not child:
        install_filter(*FORBIDDEN[machine])
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        install_filter(*FORBIDDEN[machine])


def install_filter(architecture: int, numbers: tuple[int, ...]) -> None:
    """These calls fail from here on; where the kernel takes no filters, nothing changes."""
    left = len(numbers)
    steps = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, architecture),
        (ANSWER, 0, 0, KILL),  # the numbers mean something else there
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, left + 1, 0, X32),
        *((EQUAL, left - at, 0, number) for at, number in enumerate(numbers)),
        (ANSWER, 0, 0, ALLOW),
        (ANSWER, 0, 0, DENY),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_void_p(ctypes.addressof(program)), 0, 0
    )


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
    if sys.platform == "linux":
        forbid_sockets()
    os.execve(command[0], command, {})  # noqa: S606 - the command is registry.protoc's


if __name__ == "__main__":
    main()
