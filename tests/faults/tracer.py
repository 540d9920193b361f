"""Holds a static program, which no library reaches, right behind one of its system calls (ptrace(2)). For root only."""
import ctypes
import os
import signal
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long
_SYSCALL, _DETACH, _SEIZE, _INTERRUPT, _GET_SYSCALL_INFO = 24, 17, 0x4206, 0x4207, 0x420E
_MARK_SYSCALLS = 1  # PTRACE_O_TRACESYSGOOD
_ALL = 0x40000000  # __WALL
_ENTRY, _EXIT = 1, 2
LINK = {"x86_64": (86, 265), "aarch64": (37,)}[os.uname().machine]


def _ptrace(request, pid, address=0, data=0):
    if _libc.ptrace(request, pid, address, data) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


class Ended(AssertionError):
    """It lives no more."""


class Held:
    """A live process that stands after `run_to_end_of`, until the with statement is left."""

    def __init__(self, pid):
        self.pid = pid
        self.stopped = False
        self.calls = 0

    def __enter__(self):
        _ptrace(_SEIZE, self.pid, 0, _MARK_SYSCALLS)
        _ptrace(_INTERRUPT, self.pid)
        self._wait()
        return self

    def __exit__(self, *problem):
        if self.stopped:
            _ptrace(_DETACH, self.pid)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, _ALL)  # its parent hears of it only then
        self.stopped = False

    def _wait(self):
        _, status = os.waitpid(self.pid, _ALL)
        self.stopped = os.WIFSTOPPED(status)
        if not self.stopped:
            raise Ended("process %d ended (%#x)" % (self.pid, status))
        return os.WSTOPSIG(status)

    def run_to_end_of(self, calls, first=lambda: None):
        """Until one of these system calls has returned. `first` is called while the process stands still."""
        self.run_through(1, first, lambda number: number in calls)

    def run_through(self, count, first=lambda: None, counts=lambda number: True):
        """Until it has made so many system calls that count; False if it has ended before that."""
        first()
        number = None
        while True:
            _ptrace(_SYSCALL, self.pid)
            try:
                if self._wait() != signal.SIGTRAP | 0x80:
                    continue
            except Ended:
                return False
            info = ctypes.create_string_buffer(96)
            _ptrace(_GET_SYSCALL_INFO, self.pid, len(info), ctypes.addressof(info))
            if info.raw[0] == _ENTRY:
                number = struct.unpack_from("<Q", info.raw, 24)[0]
                if counts(number):
                    self.calls += 1
            elif info.raw[0] == _EXIT and self.calls >= count and counts(number):
                return True
