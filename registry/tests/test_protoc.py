"""The cage around protoc: limits hold, errors are parsed, nothing is left behind."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from registry import protoc
from registry.protoc import Compiler, Limits, ProtoError, parse_errors, run_protoc, working_folder

GOOD = 'syntax = "proto3";\npackage a;\nimport "google/protobuf/timestamp.proto";\n'
MESSAGE = "message A { google.protobuf.Timestamp at = 1; }\n"


@pytest.fixture
def folder():
    with working_folder() as made:
        (made / "src").mkdir()
        yield made


def run(folder, *arguments, **kwargs):
    return run_protoc(
        arguments=["--proto_path=src", *arguments],
        folder=folder,
        limits=kwargs.pop("limits", Limits()),
        **kwargs,
    )


def fake_protoc(monkeypatch, script):
    """Python code in protoc's place, in the same cage."""
    command = [sys.executable, "-I", "-c", textwrap.dedent(script)]
    monkeypatch.setattr(protoc, "_program", lambda compiler: command)


def gone(pid):
    """Whether the process ends within some seconds."""
    for _ in range(500):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.01)
    return False


def test_good_file_compiles_with_well_known_types(folder):
    (folder / "src/a.proto").write_text(GOOD + MESSAGE)
    outcome = run(folder, "--descriptor_set_out=out.pb", "src/a.proto")
    assert (outcome.exit, outcome.log, outcome.errors) == (0, "", ())
    assert outcome.succeeded
    assert not outcome.broke
    assert b"a.proto" in (folder / "out.pb").read_bytes()


def test_grpc_python_is_generated(folder):
    (folder / "src/a.proto").write_text(GOOD + MESSAGE + "service S { rpc Get(A) returns (A); }\n")
    outcome = run(folder, "--grpc_python_out=.", "src/a.proto", compiler=Compiler.GRPC_PYTHON)
    assert outcome.succeeded, outcome.log
    assert "class SStub" in (folder / "a_pb2_grpc.py").read_text()


def test_errors_name_file_line_and_column(folder):
    (folder / "src/a.proto").write_text(GOOD + "message A { Missing x = 1; }\n")
    outcome = run(folder, "--descriptor_set_out=out.pb", "src/a.proto")
    assert outcome.exit == 1
    assert not outcome.broke
    assert outcome.errors == (ProtoError("src/a.proto", 4, 13, '"Missing" is not defined.'),)


@pytest.mark.parametrize("name", ["--python_out=x.proto", "@x.proto", "a:1:2: b.proto"])
def test_names_are_never_taken_for_options(folder, name):
    (folder / "src" / name).write_text(GOOD + MESSAGE)
    outcome = run(folder, "--descriptor_set_out=out.pb", protoc.source_argument("src", name))
    assert (outcome.exit, outcome.log) == (0, "")
    assert sorted(p.name for p in folder.iterdir() if not p.name.startswith(".")) == [
        "out.pb",
        "src",
    ]


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.proto"])
def test_imports_do_not_leave_the_folder(folder, name):
    (folder / "secret.proto").write_text(GOOD)
    (folder / "src/a.proto").write_text(f'syntax = "proto3"; import "{name}";')
    assert run(folder, "--descriptor_set_out=out.pb", "src/a.proto").exit == 1


def test_parse_errors_leaves_warnings_out():
    log = (
        "src/a.proto:3:1: warning: Import google/protobuf/any.proto is unused.\n"
        "b.proto: File not found.\n"
        'src/a.proto:2:1: Import "b.proto" was not found or had errors.\n'
        "noise\n"
    )
    assert parse_errors(log) == (
        ProtoError("b.proto", None, None, "File not found."),
        ProtoError("src/a.proto", 2, 1, 'Import "b.proto" was not found or had errors.'),
    )


def test_parse_errors_takes_what_generators_refuse():
    log = (
        "com/x/Foo.java: Tried to write the same file twice.\n"
        "--php_out: Can't generate PHP code for required field A.a.\n"
        "--php_out: warning: Nothing much.\n"
        "--java_out: src/a.proto: src/a.proto: Cannot generate Java output.\n"
        "out/a.py: write: No space left on device\n"
    )
    assert parse_errors(log) == (
        ProtoError("com/x/Foo.java", None, None, "Tried to write the same file twice."),
        ProtoError("php", None, None, "Can't generate PHP code for required field A.a."),
        ProtoError("src/a.proto", None, None, "Cannot generate Java output."),
    )


def test_wall_clock_ends_the_whole_group(folder, monkeypatch):
    fake_protoc(
        monkeypatch,
        """
        import subprocess, sys, time
        child = subprocess.Popen(["/bin/sleep", "60"])
        print(child.pid, flush=True)
        time.sleep(60)
        """,
    )
    begun = time.monotonic()
    outcome = run(folder, limits=Limits(wall_seconds=1.5))
    assert time.monotonic() - begun < 10
    assert outcome.timed_out
    assert outcome.broke
    assert outcome.exit == -signal.SIGKILL
    assert gone(int(outcome.log))


def test_what_a_run_started_ends_with_it(folder, monkeypatch):
    fake_protoc(
        monkeypatch,
        """
        import subprocess
        child = subprocess.Popen(
            ["/bin/sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        print(child.pid, flush=True)
        """,
    )
    outcome = run(folder)
    assert (outcome.exit, outcome.timed_out) == (0, False)
    assert gone(int(outcome.log))


def test_cpu_memory_and_file_size_are_limited(folder, monkeypatch):
    fake_protoc(monkeypatch, "while True: pass")
    assert run(folder, limits=Limits(cpu_seconds=1)).exit == -signal.SIGKILL
    fake_protoc(monkeypatch, "bytearray(400 * 1024**2)")
    outcome = run(folder, limits=Limits(memory_bytes=256 * 1024**2))
    assert outcome.exit == 1
    assert "MemoryError" in outcome.log
    fake_protoc(monkeypatch, "open('big', 'wb').write(bytes(2_000_000))")
    outcome = run(folder, limits=Limits(file_bytes=1_000_000))
    assert outcome.exit != 0
    assert (folder / "big").stat().st_size <= 1_000_000


def test_log_is_cut_and_the_run_goes_on(folder, monkeypatch):
    fake_protoc(monkeypatch, "print('x' * 3_000_000, flush=True); open('end', 'w').close()")
    outcome = run(folder, limits=Limits(log_bytes=1_000))
    assert (outcome.exit, outcome.log) == (0, "x" * 1_000)
    assert (folder / "end").exists()


def test_crash_is_told_from_a_fault_of_the_files(folder, monkeypatch):
    fake_protoc(monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    outcome = run(folder)
    assert (outcome.exit, outcome.broke) == (-signal.SIGSEGV, True)


def test_environment_is_empty_and_network_is_away(folder, monkeypatch):
    server = socket.create_server(("127.0.0.1", 0))
    fake_protoc(
        monkeypatch,
        f"""
        import os, socket
        print(sorted(set(os.environ) - {{"LC_CTYPE"}}))
        try:
            socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), timeout=5)
        except OSError:
            print("no network")
        """,
    )
    with server:
        assert run(folder).log == "[]\nno network\n"


def test_no_socket_can_be_made_where_the_network_cannot_be_left(folder, tmp_path, monkeypatch):
    cage = tmp_path / "cage.py"
    cage.write_text(protoc.CAGE.read_text().replace("        leave_network()\n", ""))
    monkeypatch.setattr(protoc, "CAGE", cage)
    fake_protoc(
        monkeypatch,
        """
        import ctypes, socket
        tries = [socket.socket, socket.socketpair, lambda: socket.socket(socket.AF_UNIX)]
        for one in tries:
            try:
                one()
                print("made")
            except OSError as exc:
                print(type(exc).__name__)
        io_uring = ctypes.CDLL(None, use_errno=True).syscall(425, 1, 0)
        print(io_uring, ctypes.get_errno())
        """,
    )
    outcome = run(folder)
    assert outcome.log.split() == ["PermissionError"] * 3 + ["-1", "13"]


def test_a_kernel_without_filters_runs_it_all_the_same(folder, tmp_path, monkeypatch):
    """The child that tries the filter is killed, as by another machine's numbers."""
    cage = tmp_path / "cage.py"
    text = protoc.CAGE.read_text()
    broken = text.replace(
        "        install_filter(*FORBIDDEN[machine])\n        os._exit(0)\n",
        "        os.kill(os.getpid(), signal.SIGSYS)\n",
    )
    assert broken != text
    cage.write_text(broken)
    monkeypatch.setattr(protoc, "CAGE", cage)
    fake_protoc(monkeypatch, "import socket; socket.socketpair(); print('made')")
    outcome = run(folder)
    assert (outcome.exit, outcome.log) == (0, "made\n")


def fail_inside(made):
    with working_folder() as folder:
        made.append(folder)
        raise RuntimeError


def test_folder_goes_with_its_block():
    made: list[Path] = []
    with pytest.raises(RuntimeError):
        fail_inside(made)
    assert not made[0].exists()


def test_killed_worker_leaves_neither_process_nor_folder(tmp_path, monkeypatch):
    """kill -9 in the middle of a run: the process goes with its parent, the folder at the sweep."""
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    sleeper = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    script = f"""
        import sys
        from registry import protoc
        command = [sys.executable, "-I", "-c", {sleeper!r}]
        protoc._program = lambda compiler: command
        with protoc.working_folder() as folder:
            print(folder, flush=True)
            protoc.run_protoc(arguments=[], folder=folder, limits=protoc.Limits(wall_seconds=60))
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        folder = Path(worker.stdout.readline().strip())
        pid = ""
        while not pid:
            assert worker.poll() is None
            pid = (folder / "pid").read_text() if (folder / "pid").exists() else ""
        assert protoc.remove_leftovers() == 0
        worker.kill()
    assert gone(int(pid))
    assert protoc.remove_leftovers() == 1
    assert not folder.exists()
