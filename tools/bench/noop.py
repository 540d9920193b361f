#!/usr/bin/python3
"""A no-op, submitted and waited for, end to end, against `runc run` and bare `bwrap`.

The runc peer gets our own bundle (same binds, overlay, namespaces) with Docker's seccomp profile (package
golang-github-containers-common) in place of ours and the command in place of our init; crun gets the same. bwrap gets
`--unshare-all` over the whole root.

Bars: ≤ 1.0 × runc run, ≤ 4 × bwrap.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from bench_support import Daemon, alternate, arguments, milliseconds, report, verdict

PROFILE = Path("/usr/share/containers/seccomp.json")


def docker_seccomp() -> dict:
    """Docker's profile as an OCI section, for a process without capabilities on x86-64."""
    profile = json.loads(PROFILE.read_text())
    syscalls = []
    for rule in profile["syscalls"]:
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        if includes.get("caps") or (includes.get("arches") and "amd64" not in includes["arches"]):
            continue
        if "amd64" in (excludes.get("arches") or []):
            continue
        entry = {"names": rule["names"], "action": rule["action"]}
        if rule.get("args"):
            entry["args"] = rule["args"]
        if rule.get("errnoRet") is not None:
            entry["errnoRet"] = rule["errnoRet"]
        syscalls.append(entry)
    section = {
        "defaultAction": profile["defaultAction"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": syscalls,
    }
    if profile.get("defaultErrnoRet") is not None:
        section["defaultErrnoRet"] = profile["defaultErrnoRet"]
    return section


def peer_bundle(daemon: Daemon, command: list[str], name: str = "peer") -> Path:
    """Our bundle of a live run, made to stand alone."""
    run = daemon.submit_detached("sleep", "600")
    directory = daemon.home / "runs" / run
    daemon.wait_for_file(directory / "start.json")
    copy = daemon.root / name
    for name in ("upper", "work", "io", "home", "tmp"):
        (copy / name).mkdir(parents=True)
    config = json.loads((directory / "bundle" / "config.json").read_text())
    daemon.json("cancel", run)
    text = json.dumps(config).replace(str(directory), str(copy))
    config = json.loads(text)
    config["process"]["args"] = command
    if PROFILE.exists():
        config["linux"]["seccomp"] = docker_seccomp()
    else:
        print(f"no {PROFILE}: runc runs with our own profile (apt-get install golang-github-containers-common)", file=sys.stderr)
    (copy / "bundle").mkdir()
    (copy / "bundle" / "config.json").write_text(json.dumps(config))
    os.chmod(copy / "work", 0o700)
    return copy


def main() -> None:
    options = arguments(__doc__)
    with Daemon(options.bin) as daemon:
        for title, command in (("/bin/true", ["/bin/true"]), ("python3 -c pass", ["/usr/bin/python3", "-c", "pass"])):
            bundle = peer_bundle(daemon, command)
            state = bundle / "state"

            def ours() -> float:
                return milliseconds([daemon.runner, "submit", "--python", "/usr/bin/python3", "--command", *command],
                                    daemon.environment, daemon.source)

            def runtime(program: str):
                return lambda: milliseconds(
                    [program, "--root", str(state), "run", "--bundle", str(bundle / "bundle"), "bench-peer"],
                    dict(os.environ), bundle)

            def bwrap() -> float:
                return milliseconds(["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev",
                                     *command], dict(os.environ), bundle)

            contenders = {"runner submit": ours, "runc run (Docker's seccomp)": runtime("runc"), "bwrap --unshare-all": bwrap}
            medians = report(f"no-op: {title}", alternate(options.n, contenders))
            mine = medians["runner submit"]
            verdict("against runc run", mine / medians["runc run (Docker's seccomp)"], 1.0)
            verdict("against bwrap", mine / medians["bwrap --unshare-all"], 4.0)
            shutil.rmtree(bundle, ignore_errors=True)


if __name__ == "__main__":
    main()
