"""Checks the programs that a server runs, there and new enough; one function asks, a pure one judges the answer."""

import os
import pwd
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from console.doctor.finding import Finding, fail, ok, warn
from deploy.local import places
from deploy.local.errors import NotInstalled

Version = tuple[int, ...]
ANSWER_SECONDS_MAX = 20.0

PYTHON_MIN: Version = (3, 11)
POSTGRES_MIN: Version = (15,)
REDIS_MIN: Version = (6, 2)
REDIS_TRIED: Version = (7, 0)
NGINX_MIN: Version = (1, 18)
FFMPEG_MIN: Version = (5, 1)
ENCODERS = ("libx264", "aac")
# What keeps an encoder from running away: archive/media/process.py puts them in front of every child.
CONFINING = ("setpriv", "prlimit", "unshare", "nice")

RTMP_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
NGINX_TRIAL = "load_module {module};\npid {directory}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
_VERSION = re.compile(r"(?:version |v=|\) |version: nginx/)n?(\d+(?:\.\d+)*)")


def check_programs(*, engines: Sequence[str] = ("postgres", "redis", "nginx")) -> list[Finding]:
    """Everything that must be installed for a server that starts these engines, asked side by side."""
    asked: list[Callable[[], Finding]] = [check_python, check_ffmpeg, check_ffprobe, check_confining, check_namespaces]
    if "postgres" in engines:
        asked.append(check_postgres)
        if os.geteuid() == 0:
            asked.append(check_postgres_user)
    if "redis" in engines:
        asked.append(check_redis)
    if "nginx" in engines:
        asked += [check_nginx, check_rtmp_module]
    with ThreadPoolExecutor(len(asked)) as pool:
        return list(pool.map(lambda check: check(), asked))


# --- Python -----------------------------------------------------------------------------------------------------------


def check_python() -> Finding:
    """The interpreter that this runs in."""
    return judge_version("python", ".".join(map(str, sys.version_info[:3])), PYTHON_MIN, "apt install python3")


# --- engines ----------------------------------------------------------------------------------------------------------


def check_postgres() -> Finding:
    """The newest Postgres that is installed."""
    try:
        program = places.postgres_programs() / "postgres"
    except NotInstalled:
        return missing("postgres", "apt install postgresql")
    return judge_version("postgres", _answer(str(program), "--version"), POSTGRES_MIN, "apt install postgresql-15")


def check_postgres_user() -> Finding:
    """Postgres refuses to run as root, so root needs somebody else to run it as."""
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        return fail("postgres user", "there is none", "apt install postgresql, or run as another user than root")
    return ok("postgres user", "postgres")


def check_redis() -> Finding:
    """The Redis server on PATH."""
    return judge_redis(_answer("redis-server", "--version"))


def judge_redis(answer: str | None) -> Finding:
    """Older than REDIS_MIN lacks commands that chat uses; between that and REDIS_TRIED nobody has tried."""
    finding = judge_version("redis", answer, REDIS_MIN, "apt install redis-server")
    if finding.level == "ok" and (version := version_in(answer or "")) and version < REDIS_TRIED:
        return warn("redis", f"{_shown(version)}, tried from {_shown(REDIS_TRIED)} on", "apt install redis-server")
    return finding


def check_nginx() -> Finding:
    """nginx itself."""
    return judge_version("nginx", _answer("nginx", "-v"), NGINX_MIN, "apt install nginx")


def check_rtmp_module() -> Finding:
    """Its RTMP module, by loading it: a module of another nginx is there and does not load."""
    with tempfile.TemporaryDirectory(prefix="livestream-doctor-") as directory:
        trial = Path(directory) / "nginx.conf"
        trial.write_text(NGINX_TRIAL.format(module=RTMP_MODULE, directory=directory))
        answer = _run("nginx", "-t", "-e", "stderr", "-c", str(trial))
    return judge_rtmp_module(answer, there=RTMP_MODULE.exists())


def judge_rtmp_module(answer: tuple[int, str] | None, *, there: bool) -> Finding:
    """`answer`: exit code and text of `nginx -t` with the module, None without nginx."""
    fix = "apt install libnginx-mod-rtmp"
    if not there or answer is None:
        return missing("nginx rtmp module", fix)
    code, text = answer
    if code == 0:
        return ok("nginx rtmp module", str(RTMP_MODULE))
    return fail("nginx rtmp module", f"does not load ({_last_line(text)})", f"apt install --reinstall nginx {fix[12:]}")


# --- media ------------------------------------------------------------------------------------------------------------


def check_ffmpeg() -> Finding:
    """ffmpeg with the encoders of the renditions."""
    return judge_ffmpeg(_answer("ffmpeg", "-version"), _answer("ffmpeg", "-hide_banner", "-encoders") or "")


def judge_ffmpeg(answer: str | None, encoders: str) -> Finding:
    """New enough, and built with what the renditions are encoded by."""
    finding = judge_version("ffmpeg", answer, FFMPEG_MIN, "apt install ffmpeg")
    lacking = [name for name in ENCODERS if not re.search(rf"^ *[VA]\S+ +{name} ", encoders, re.MULTILINE)]
    if finding.level == "ok" and lacking:
        return fail("ffmpeg", f"without {' and '.join(lacking)}", "apt install ffmpeg (Debian's has both)")
    return finding


def check_ffprobe() -> Finding:
    """ffprobe, which reads every segment before it is a recording's."""
    return judge_version("ffprobe", _answer("ffprobe", "-version"), FFMPEG_MIN, "apt install ffmpeg")


def check_confining() -> Finding:
    """The programs that put limits on an encoder."""
    lacking = [name for name in CONFINING if _found(name) is None]
    if lacking:
        return missing(", ".join(lacking), "apt install util-linux coreutils")
    return ok("util-linux", ", ".join(CONFINING))


def check_namespaces() -> Finding:
    """Whether a child can be started without a network."""
    answer = _run("unshare", "--user", "--map-root-user", "--net", "true")
    return judge_namespaces(answer is not None and answer[0] == 0)


def judge_namespaces(possible: bool) -> Finding:
    """Without them media are still read under limits, as an ordinary child; a hostile file could reach the network."""
    if possible:
        return ok("user namespaces", "encoders run without a network")
    return warn(
        "user namespaces", "encoders run with the network in reach", "sysctl -w kernel.unprivileged_userns_clone=1"
    )


# --- how a version is asked for and judged ----------------------------------------------------------------------------


def judge_version(check: str, answer: str | None, at_least: Version, fix: str) -> Finding:
    """`answer` is what the program says of itself, None when there is no such program."""
    if answer is None:
        return missing(check, fix)
    version = version_in(answer)
    if version is None:
        # Builds of one's own have names for versions (ffmpeg "N-110"): who has one knows why.
        return warn(check, f"says {_last_line(answer)[:60]!r}, no version", f"make sure that it is {_shown(at_least)}")
    if version < at_least:
        return fail(check, f"{_shown(version)}, too old: {_shown(at_least)} is needed", fix)
    return ok(check, _shown(version))


def version_in(answer: str) -> Version | None:
    """The first version number that a program gives for itself."""
    found = _VERSION.search(answer) or re.match(r"(\d+(?:\.\d+)+)$", answer)
    return tuple(int(part) for part in found[1].split(".")) if found else None


def missing(check: str, fix: str) -> Finding:
    """A program that is not there."""
    return fail(check, "not found", fix)


def _shown(version: Version) -> str:
    return ".".join(str(part) for part in version)


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1].strip() if text.strip() else "nothing"


def _found(name: str) -> str | None:
    try:
        return places.program(name)
    except NotInstalled:
        return None


def _answer(name: str, *arguments: str) -> str | None:
    answer = _run(name, *arguments)
    return None if answer is None else answer[1]


def _run(name: str, *arguments: str) -> tuple[int, str] | None:
    """Exit code and output, None when there is no such program (or it does not answer)."""
    program = name if name.startswith("/") else _found(name)
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=ANSWER_SECONDS_MAX,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, done.stdout
