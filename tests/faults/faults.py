"""A daemon whose calls of libc can be counted, made to fail, or made the last thing it does (interpose.cpp, control.hpp)."""
import errno
import mmap
import os
import shutil
import signal
import socket
import struct

from support import processes, program, settings
from support.program import Background
from support.waiting import wait_until

WRITE, SYNC, TRUNCATE, RENAME, LINK, UNLINK, MAKE, OPEN, SPAWN, SEND = (1 << number for number in range(10))
FILES = WRITE | SYNC | TRUNCATE | RENAME | LINK | UNLINK | MAKE | OPEN  # everything that changes a file
NONE, KILL_BEFORE, KILL_AFTER, KILL_HALF_WAY, FAIL, FAIL_HALF_WAY, STOP = range(7)

_MAGIC = 0x3130544C55414652
_FIELDS = ("magic", "kinds", "action", "first", "last", "error", "count", "fired", "wall_offset", "boot_offset")
_PATH, _PATH_BYTES, _FIRED_AT_BYTES = 8 * len(_FIELDS), 256, 8512
_BYTES = _PATH + _PATH_BYTES + _FIRED_AT_BYTES
FOR_EVER = (1 << 63) - 1


def library():
    """The built library, where every user can read it. AssertionError if it was not built."""
    built = os.path.join(os.path.dirname(os.path.abspath(settings.BIN_DIR)), "tests", "librunner_faults.so")
    copy = os.path.join(program.bin_directory(), "librunner_faults.so")
    if not os.path.exists(copy):
        if not os.path.exists(built):
            raise AssertionError("not built: " + built)
        shutil.copyfile(built, copy)
        os.chmod(copy, 0o755)
    return copy


class Faults:
    """What happens to the calls of the daemons of one home that were started with `start_daemon` here."""

    def __init__(self, home, trace=False):
        self.home = home
        self.path = home.write(home.base + "/faults", b"\0" * _BYTES)
        if trace:
            home.write(self.path + ".trace", b"")
        with open(self.path, "r+b") as file:
            self._page = mmap.mmap(file.fileno(), _BYTES)
        self._set("magic", _MAGIC)
        self._daemons = []

    def _set(self, field, value):
        struct.pack_into("<q", self._page, 8 * _FIELDS.index(field), value)

    def _get(self, field):
        return struct.unpack_from("<q", self._page, 8 * _FIELDS.index(field))[0]

    # --- what is to happen -----------------------------------------------------------------------------------------------

    def arm(self, action, first=1, last=None, kinds=FILES, path="", error=errno.EIO):
        """The calls numbered first…last (only the first by default) of these kinds whose path contains `path` are hit."""
        self._set("kinds", 0)
        self._set("action", action)
        self._set("first", first)
        self._set("last", first if last is None else last)
        self._set("error", error)
        self._set("count", 0)
        self._set("fired", 0)
        self._page[_PATH:_PATH + _PATH_BYTES] = os.fsencode(path).ljust(_PATH_BYTES, b"\0")
        self._set("kinds", kinds)

    def count_calls(self, kinds=FILES, path=""):
        self.arm(NONE, kinds=kinds, path=path)

    def disarm(self):
        self._set("kinds", 0)

    def shift_clocks(self, wall=0.0, suspended=0.0):
        """The wall clock is `wall` seconds ahead; the machine has slept for `suspended` seconds."""
        self._set("wall_offset", round((wall + suspended) * 1e9))
        self._set("boot_offset", round(suspended * 1e9))

    # --- what has happened -----------------------------------------------------------------------------------------------

    @property
    def count(self):
        return self._get("count")

    @property
    def is_armed(self):
        return self._get("kinds") != 0 and self._get("action") != NONE

    @property
    def fired(self):
        """How many calls were hit."""
        return self._get("fired")

    @property
    def fired_at(self):
        """The first call that was hit, and its path; empty if none was."""
        return os.fsdecode(self._page[_PATH + _PATH_BYTES:].split(b"\0", 1)[0]) if self.fired else ""

    def traced(self):
        with open(self.path + ".trace", errors="surrogateescape") as file:
            return file.read().splitlines()

    # --- the daemon ------------------------------------------------------------------------------------------------------

    def start_daemon(self, wait=True):
        """A daemon that obeys; returns when it answers or has ended. What ends is replaced, by whoever needs it, with an
        ordinary daemon: only this one is faulty."""
        variables = {"LD_PRELOAD": library(), "RUNNER_FAULTS": self.path,
                     "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}
        daemon = Background([self.home.program("runnerd"), "--home", self.home.data], self.home.account, self.home.base,
                            self.home.environment(variables))
        self.home.held(daemon)
        self._daemons.append(daemon)
        if wait:
            wait_until(lambda: daemon.process.poll() is not None or self._answers(), "the daemon answers or ends")
        return daemon

    def _answers(self):
        with socket.socket(socket.AF_UNIX) as caller:
            try:
                caller.connect(self.home.data + "/control.sock")
            except OSError:
                return False
        return True

    def until_killed(self, daemon, deadline=settings.DEADLINE):
        """The daemon has died of SIGKILL."""
        code = daemon.finish(deadline).code
        if code != -signal.SIGKILL:
            raise AssertionError("the daemon ended with %d, not by the fault\n%s" % (code, daemon.result(code).describe()))

    def until_stopped(self, daemon):
        """It stands still before the call that was to stop it."""
        wait_until(lambda: processes.Process(daemon.process.pid).state in "Tt", "the daemon stands at its call")

    @staticmethod
    def go_on(daemon):
        os.kill(daemon.process.pid, signal.SIGCONT)
