"""The programs under test, copied to where every user may read them, and how they are called."""
import atexit
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading

from . import settings

PROGRAMS = ("runner", "runnerd", "runner-shim", "runner-init")
_directory = None


def missing():
    """Why the programs cannot be tested, or an empty text."""
    if not settings.BIN_DIR:
        return "RUNNER_BIN_DIR is not set"
    absent = [name for name in PROGRAMS if not os.access(os.path.join(settings.BIN_DIR, name), os.X_OK)]
    return "not built in RUNNER_BIN_DIR: " + ", ".join(absent) if absent else ""


def bin_directory():
    """A copy of bin/ and share/ that an ordinary user can read, wherever the build tree is."""
    global _directory
    if _directory is None:
        base = tempfile.mkdtemp(prefix="rt-bin-", dir="/tmp")
        atexit.register(shutil.rmtree, base, True)
        os.chmod(base, 0o755)
        os.mkdir(os.path.join(base, "bin"))
        for name in os.listdir(settings.BIN_DIR):
            if not name.startswith("runner"):  # nor what else a build tree keeps there
                continue
            shutil.copy2(os.path.join(settings.BIN_DIR, name), os.path.join(base, "bin", name))
        share = os.path.join(os.path.dirname(os.path.abspath(settings.BIN_DIR)), "share")
        if os.path.isdir(share):
            shutil.copytree(share, os.path.join(base, "share"), ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run(["chmod", "-R", "a+rX", base], check=True)
        _directory = os.path.join(base, "bin")
    return _directory


def program(name):
    return os.path.join(bin_directory(), name)


class Result:
    """How a command ended: code (128+N for signal N is not made up here: a negative code is a signal), out, err."""

    def __init__(self, arguments, code, out, err):
        self.arguments, self.code, self.out = arguments, code, out
        self.err = err.decode(errors="backslashreplace")

    @property
    def text(self):
        return self.out.decode()

    @property
    def json(self):
        try:
            return json.loads(self.out)
        except ValueError:
            raise AssertionError("not JSON on stdout\n" + self.describe()) from None

    @property
    def error_lines(self):
        return self.err.splitlines()

    def describe(self):
        return "$ %s\ncode %d\nstdout: %s\nstderr: %s" % (
            " ".join(map(str, self.arguments)), self.code, self.out[-3000:].decode(errors="backslashreplace"), self.err[-3000:])


def call(arguments, account, directory, environment, timeout=60.0, stdin=subprocess.DEVNULL):
    """Runs a command to its end as `account`. AssertionError if it takes longer than `timeout` seconds."""
    started = subprocess.Popen([os.fsencode(a) for a in arguments], cwd=directory, env=environment, stdin=stdin,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, umask=0o022,
                               **account.popen_options())
    try:
        out, err = started.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        try:
            out, err = started.communicate(timeout=2)
        except subprocess.TimeoutExpired as held:  # a daemon that kept our pipes
            out, err = held.stdout or b"", held.stderr or b""
        raise AssertionError("took longer than %g s\n%s" % (timeout, Result(arguments, -9, out, err).describe())) from None
    return Result(arguments, started.returncode, out, err)


class Background:
    """A command that goes on while the test does other things; what it prints is collected as it comes."""

    def __init__(self, arguments, account, directory, environment):
        self.arguments = arguments
        self.out = b""
        self.err = b""
        self._changed = threading.Condition()
        self.process = subprocess.Popen([os.fsencode(a) for a in arguments], cwd=directory, env=environment,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        start_new_session=True, umask=0o022, bufsize=0, **account.popen_options())
        self._readers = [threading.Thread(target=self._collect, args=(name, stream), daemon=True)
                         for name, stream in (("out", self.process.stdout), ("err", self.process.stderr))]
        for reader in self._readers:
            reader.start()

    def _collect(self, name, stream):
        while True:
            piece = os.read(stream.fileno(), 65536)
            with self._changed:
                setattr(self, name, getattr(self, name) + piece)
                self._changed.notify_all()
            if not piece:
                return

    def wait_for_output(self, text, deadline=settings.DEADLINE, stream="out"):
        """Until the bytes have been printed; AssertionError at the deadline (seconds)."""
        with self._changed:
            if not self._changed.wait_for(lambda: text in getattr(self, stream), deadline):
                raise AssertionError("after %g s no %r on std%s\n%s" % (deadline, text, stream, self.result(None).describe()))

    def result(self, code):
        return Result(self.arguments, -999 if code is None else code, self.out, self.err)

    def finish(self, timeout=settings.DEADLINE):
        """Waits for the end; AssertionError after `timeout` seconds."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError("still running after %g s\n%s" % (timeout, self.result(None).describe())) from None
        for reader in self._readers:
            reader.join(5)
        return self.result(code)

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        for reader in self._readers:
            reader.join(5)
        self.process.stdout.close()
        self.process.stderr.close()
