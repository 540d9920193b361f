"""Looking at the machine's processes, mounts and cgroups: what a run has, and what it must not leave behind."""
import os
import select
import signal

from . import settings
from .waiting import wait_until

CGROUPS = "/sys/fs/cgroup"


class Process:
    """One process at the moment of the look. Fields that may not be read are empty."""

    def __init__(self, pid):
        self.pid = pid
        self.command = self._read("cmdline").split(b"\0")
        self.environment = self._read("environ")
        self.name = self._read("comm").strip().decode(errors="replace")
        status = dict(line.split(b":", 1) for line in self._read("status").splitlines() if b":" in line)
        self.parent = int(status.get(b"PPid", b"0"))
        self.state = status.get(b"State", b"?").strip()[:1].decode()
        self._pids = status.get(b"NSpid", b"").split()

    def _read(self, what):
        try:
            with open("/proc/%d/%s" % (self.pid, what), "rb") as file:
                return file.read()
        except OSError:
            return b""

    def mentions(self, text):
        text = text.encode()
        return text in self.environment or any(text in argument for argument in self.command)

    def is_first_of_its_namespace(self):
        return self._pids[-1:] == [b"1"]

    def has_mounted(self, text):
        return text.encode() in self._read("mountinfo")

    def __repr__(self):
        return "%d %s %r" % (self.pid, self.name, b" ".join(self.command)[:200])


def processes():
    """All live ones (zombies do nothing any more)."""
    found = [Process(int(name)) for name in os.listdir("/proc") if name.isdigit()]
    return [process for process in found if process.state not in ("Z", "?")]


def mentioning(text):
    """Processes whose command line or environment contains the text, without this one."""
    return [process for process in processes() if process.pid != os.getpid() and process.mentions(text)]


def shim_of(run_id):
    """The Process of a live run's shim, or None."""
    for process in processes():
        if process.name == "runner-shim" and any(run_id.encode() in argument for argument in process.command):
            return process
    return None


def init_of(run_id):
    """The Process of a live container's pid 1, or None.

    In the sandbox it is a child of the run's shim. In a container of the Engine it is nobody's child that we know, but it
    has the run's directory mounted. Its environment may be unreadable in both.
    """
    shim = shim_of(run_id)
    for process in processes():
        if process.name == "runner-init" and process.is_first_of_its_namespace():
            if shim is not None and process.parent == shim.pid or process.has_mounted(run_id):
                return process
    return None


def has_a_socket(pid):
    """Whether one of its open files is a socket. False if it may not be looked at, or has ended."""
    directory = "/proc/%d/fd" % pid
    try:
        return any(os.readlink(directory + "/" + name).startswith("socket:") for name in os.listdir(directory))
    except OSError:
        return False


def kill_and_wait(pid, number=signal.SIGKILL, deadline=settings.DEADLINE):
    """Sends the signal and returns when the process has ended; a pid that is gone already is fine."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        try:
            signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return
        ready, _, _ = select.select([pidfd], [], [], deadline)
        if not ready:
            raise AssertionError("process %d survived signal %d for %g s" % (pid, number, deadline))
    finally:
        os.close(pidfd)


def cgroups_mentioning(text):
    """Cgroup directories whose name contains the text, deepest first."""
    found = []
    for directory, names, _ in os.walk(CGROUPS):
        found += [os.path.join(directory, name) for name in names if text in name]
    return sorted(found, key=len, reverse=True)


def mounts_mentioning(text):
    """Mount points of this mount namespace that contain the text, deepest first."""
    with open("/proc/self/mountinfo", errors="surrogateescape") as file:
        lines = [line for line in file if text in line]
    return sorted((line.split()[4] for line in lines), key=len, reverse=True)


def no_process_mentions(text, deadline=settings.DEADLINE):
    """Waits until nothing with the text lives any more; AssertionError with the survivors."""
    survivors = []

    def none_left():
        survivors[:] = mentioning(text)
        return not survivors
    try:
        wait_until(none_left, "no process with " + text, deadline)
    except AssertionError:
        raise AssertionError("still alive: %r" % survivors) from None
