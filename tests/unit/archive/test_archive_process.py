"""The runner: no child runs away, whatever it does."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from archive.errors import ProcessFailed, ProcessOutputTooLarge, ProcessTimedOut
from archive.media.process import Limits, ProcessRunner, Progress, ProgressReader, confined, network_can_be_dropped

LIMITS = Limits(
    time_seconds=20,
    silence_seconds=20,
    stop_grace_seconds=0.3,
    cpu_seconds=20,
    memory_bytes=1 << 30,
    file_bytes=1 << 20,
)
RUNNER = ProcessRunner(without_network=False)
DEADLINE_SECONDS = 20.0


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"it did not come true within {DEADLINE_SECONDS:g} s"
        await asyncio.sleep(0.01)


async def test_output_comes_back() -> None:
    finished = await RUNNER.run(python("print('yes')"), LIMITS)
    assert finished.stdout == b"yes\n"


async def test_a_failure_carries_the_last_lines_of_stderr() -> None:
    code = "import sys; [print('line', n, file=sys.stderr) for n in range(50_000)]; sys.exit(3)"
    with pytest.raises(ProcessFailed) as raised:
        await RUNNER.run(python(code), LIMITS)
    assert raised.value.exit_code == 3
    assert raised.value.stderr_tail.endswith("line 49999")
    assert len(raised.value.stderr_tail) < 5_000
    assert "line 49999" in str(raised.value)


async def test_a_failures_text_tells_nothing_of_where_files_lie(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed) as raised:
        await RUNNER.run(["ffprobe", "-v", "error", "-f", "h264", str(tmp_path / "none.ts")], LIMITS)
    assert raised.value.stderr_tail == "none.ts: No such file or directory"
    code = "import sys; sys.exit('[h264 @ 0x55d20e302c40] no frame!')"
    with pytest.raises(ProcessFailed) as raised:
        await RUNNER.run(python(code), LIMITS)
    assert raised.value.stderr_tail == "[h264] no frame!"


async def test_both_pipes_are_drained_whatever_a_child_writes() -> None:
    code = (
        "import sys\nfor _ in range(300):\n sys.stderr.write('e' * 10_000); sys.stderr.flush()\n"
        " sys.stdout.write('o' * 1_000); sys.stdout.flush()"
    )
    finished = await RUNNER.run(python(code), LIMITS)
    assert len(finished.stdout) == 300_000


async def test_a_child_that_takes_too_long_is_stopped() -> None:
    started = time.monotonic()
    with pytest.raises(ProcessTimedOut, match="took longer than"):
        await RUNNER.run(["sleep", "60"], replace(LIMITS, time_seconds=0.3))
    assert time.monotonic() - started < DEADLINE_SECONDS, "it sleeps for a minute"


async def test_a_child_that_falls_silent_is_stopped() -> None:
    code = "import time; print('alive', flush=True); time.sleep(60)"
    with pytest.raises(ProcessTimedOut, match="silent"):
        await RUNNER.run(python(code), replace(LIMITS, silence_seconds=0.5))


async def test_a_child_that_goes_on_talking_is_left_alone() -> None:
    code = "import time\nfor _ in range(24): print('alive', flush=True); time.sleep(0.2)"
    # not standing back: beside other tests it might be silent for so long before its first word
    finished = await RUNNER.run(python(code), replace(LIMITS, silence_seconds=4.0, nice=0))
    assert finished.seconds > 4.0


async def test_a_child_that_ignores_term_is_killed() -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    with pytest.raises(ProcessTimedOut):
        await RUNNER.run(python(code), replace(LIMITS, silence_seconds=0.5))


async def test_a_stopped_ffmpeg_is_killed_and_reaped() -> None:
    argv = ["ffmpeg", "-nostdin", "-v", "error", "-progress", "pipe:1", "-stats_period", "0.1"]
    argv += ["-re", "-f", "lavfi", "-i", "testsrc2=duration=60", "-f", "null", "-"]
    seen: list[bytes] = []

    def stop_it(piece: bytes) -> None:
        if not seen:  # what is written first may be read before the child is listed under its name
            for child in [one for one in psutil.Process().children() if one.name() == "ffmpeg"]:
                os.kill(child.pid, signal.SIGSTOP)
                seen.append(str(child.pid).encode())

    with pytest.raises(ProcessTimedOut, match="silent"):
        # not standing back: beside other tests it might be silent for so long before it was ever stopped
        limits = replace(LIMITS, silence_seconds=4.0, memory_bytes=4 << 30, nice=0)
        await RUNNER.run(argv, limits, on_output=stop_it)
    assert seen, "it was silent by itself"
    assert not psutil.pid_exists(int(seen[0]))


async def test_a_child_that_writes_too_much_is_killed() -> None:
    code = "while True: print('x' * 1000)"
    with pytest.raises(ProcessOutputTooLarge):
        await RUNNER.run(python(code), replace(LIMITS, stdout_bytes_max=100_000))


async def test_a_cancelled_caller_leaves_no_child(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); print(1, flush=True); time.sleep(60)"
    )
    running = asyncio.create_task(RUNNER.run(python(code), LIMITS))
    await until(lambda: pid_file.exists() and pid_file.read_text() != "")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: not psutil.pid_exists(int(pid_file.read_text())))


async def test_a_killed_parent_takes_its_child_along(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    child = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    parent = (
        "import asyncio, sys; from tests.unit.archive.test_archive_process import LIMITS, RUNNER\n"
        f"asyncio.run(RUNNER.run([sys.executable, '-c', {child!r}], LIMITS))"
    )
    process = await asyncio.create_subprocess_exec(*python(parent), cwd=Path(__file__).parents[3])
    try:
        await until(lambda: pid_file.exists() and pid_file.read_text() != "")
    finally:
        process.kill()
        await process.wait()
    await until(lambda: not psutil.pid_exists(int(pid_file.read_text())))


async def test_a_file_beyond_the_limit_is_not_written(tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'big')!r}, 'wb').write(b'x' * (4 << 20))"
    with pytest.raises(ProcessFailed, match="File too large"):
        await RUNNER.run(python(code), LIMITS)
    with pytest.raises(ProcessFailed, match="wrote a file of more than 1048576 bytes"):
        await RUNNER.run(["truncate", "-s", "4M", str(tmp_path / "other")], LIMITS)
    assert (tmp_path / "big").stat().st_size <= LIMITS.file_bytes


async def test_memory_and_cpu_are_limited() -> None:
    with pytest.raises(ProcessFailed, match="MemoryError"):
        await RUNNER.run(python("x = bytearray(2 << 30)"), LIMITS)
    with pytest.raises(ProcessFailed, match="more than 1 s of CPU"):
        await RUNNER.run(python("while True: pass"), replace(LIMITS, cpu_seconds=1, nice=0))


async def test_open_files_are_limited(tmp_path: Path) -> None:
    code = f"files = [open({str(tmp_path / 'one')!r}, 'w') for _ in range(40)]"
    await RUNNER.run(python(code), LIMITS)
    with pytest.raises(ProcessFailed, match="Too many open files"):
        await RUNNER.run(python(code), replace(LIMITS, open_files=30))


async def test_threads_and_processes_are_limited() -> None:
    if not await network_can_be_dropped():
        pytest.skip("this machine has no unprivileged user namespaces")
    code = (
        "import threading, time\n"
        "for _ in range(30): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
    )
    limits = replace(LIMITS, tasks=20)
    # The kernel counts nobody's tasks who is root outside of the namespace, too.
    other = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"] if os.geteuid() == 0 else []
    argv = [*other, *confined(["/usr/bin/python3", "-c", code], limits, without_network=True)]
    process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE, cwd="/")
    _, stderr = await process.communicate()
    assert b"can't start new thread" in stderr
    assert process.returncode == 1


async def test_no_child_gets_more_rights_than_it_has() -> None:
    finished = await RUNNER.run(["cat", "/proc/self/status"], LIMITS)
    assert b"NoNewPrivs:\t1" in finished.stdout


def own_group() -> str:
    return Path("/proc/self/autogroup").read_text()


@pytest.mark.skipif(
    not Path("/proc/sys/kernel/sched_autogroup_enabled").exists()
    or Path("/proc/sys/kernel/sched_autogroup_enabled").read_text().strip() != "1",
    reason="this kernel does not group tasks by session",
)
async def test_a_child_stands_back_for_other_sessions_too() -> None:
    code = (
        "import os, time; from tests.unit.archive.test_archive_process import own_group; end = time.monotonic() + 15\n"
        "while 'nice 17' not in own_group() and time.monotonic() < end: time.sleep(0.01)\n"
        "print(own_group(), os.nice(0))"
    )
    before = own_group()
    finished = await RUNNER.run(python(code), replace(LIMITS, nice=17))
    nicest = min(17 + os.nice(0), 19)  # whoever runs the tests may stand back already
    assert finished.stdout.decode().split()[1:] == ["nice", "17", str(nicest)]
    assert own_group() == before, "ours is another"


async def test_the_child_knows_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESTREAM_ARCHIVE_S3_SECRET_ACCESS_KEY", "hush")
    finished = await RUNNER.run(["env"], LIMITS)
    assert b"hush" not in finished.stdout


async def test_the_child_has_no_network() -> None:
    if not await network_can_be_dropped():
        pytest.skip("this machine has no unprivileged user namespaces")
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connect = python(f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)")
    async with server:
        await RUNNER.run(connect, LIMITS)
        with pytest.raises(ProcessFailed, match="unreachable"):
            await ProcessRunner(without_network=True).run(connect, LIMITS)


async def test_a_program_that_is_not_there_is_a_failure_with_its_name() -> None:
    with pytest.raises(ProcessFailed, match="no-such-program"):
        await RUNNER.run(["no-such-program"], LIMITS)


def test_progress_is_read_in_pieces_of_any_size() -> None:
    text = b"frame=12\nout_time_us=N/A\nprogress=continue\nframe=31\nout_time_us=1033333\nprogress=end\n"
    reader = ProgressReader()
    for at in range(0, len(text), 7):
        reader(text[at : at + 7])
    assert reader.latest == Progress(frames=31, time_ms=1033)
