"""A private world for tests: data directory, configuration, projects, a daemon of its own, and the broom for all of it."""
import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys

from . import accounts, processes, program, settings
from .engine import Engine
from .program import Background
from .waiting import wait_until

# What a test's daemon and commands see of our environment: nothing but this.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Home:
    """Every name in it contains `token`, so that leftovers of its runs are found wherever they are."""

    def __init__(self, account=None, runtime=settings.RUNTIME, engine=None):
        """`engine`: the Engine that commands are pointed to; without one, the test engine where runs go to an engine at all."""
        if engine is None and settings.ISOLATION == "docker":
            engine = Engine.of_the_tests()
        self.engine = engine
        self.account = account or accounts.account()
        self.token = "t" + secrets.token_hex(4)
        self.base = "/tmp/rt-" + self.token
        self.data = self.base + "/data"
        self.config = self.base + "/config"
        self.runtime = runtime
        self.programs = None  # a directory of its own (own_programs), else the one of all tests
        self.projects = 0
        self._background = []
        for directory in (self.base, self.config, self.config + "/runner"):
            os.mkdir(directory, 0o755)
            self.account.own(directory)

    # --- files -----------------------------------------------------------------------------------------------------------

    def new_project(self, name=None):
        self.projects += 1
        path = "%s/%s" % (self.base, name or "p%d-%s" % (self.projects, self.token))
        os.mkdir(path, 0o755)
        self.account.own(path)
        return path

    def write(self, path, content, mode=None):
        """A file of the home's user, with the directories it needs."""
        made = []
        directory = os.path.dirname(path)
        while not os.path.isdir(directory):
            made.append(directory)
            directory = os.path.dirname(directory)
        for directory in reversed(made):
            os.mkdir(directory, 0o755)
            self.account.own(directory)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        os.chmod(path, 0o644 if mode is None else mode)
        self.account.own(path)
        return path

    def configure(self, text):
        """config.toml; read when a daemon starts."""
        self.write(self.config + "/runner/config.toml", text)

    def program(self, name):
        return os.path.join(self.programs or program.bin_directory(), name)

    def own_programs(self, source=None):
        """From here on this home's commands and daemons are a copy of the programs that a test may change. Returns where."""
        if self.programs is None:
            prefix = self.base + "/installed"
            shutil.copytree(os.path.dirname(source or program.bin_directory()), prefix)
            self.programs = prefix + "/bin"
        return self.programs

    # --- commands --------------------------------------------------------------------------------------------------------

    def environment(self, more=None):
        values = {"PATH": _PATH, "HOME": self.account.home, "USER": self.account.name, "LOGNAME": self.account.name,
                  "LANG": "C.UTF-8", "XDG_CONFIG_HOME": self.config, "RUNNER_HOME": self.data}
        if self.runtime:
            values["RUNNER_OCI_RUNTIME"] = self.runtime
        if self.engine:
            values["DOCKER_HOST"] = self.engine.address
        for name, value in (more or {}).items():
            if value is None:
                values.pop(name, None)
            else:
                values[name] = value
        return values

    def run(self, *arguments, directory=None, environment=None, timeout=60.0):
        """`runner ARGUMENTS…` to its end."""
        return program.call([self.program("runner"), *arguments], self.account, directory or self.base,
                            self.environment(environment), timeout)

    def call(self, *arguments, directory=None, environment=None, timeout=60.0):
        """Any other command as the home's user."""
        return program.call(arguments, self.account, directory or self.base, self.environment(environment), timeout)

    def background(self, *arguments, directory=None, environment=None):
        """`runner ARGUMENTS…`, not waited for; killed with the home at the latest."""
        started = Background([self.program("runner"), *arguments], self.account, directory or self.base,
                             self.environment(environment))
        self.held(started)
        return started

    def held(self, started):
        """A Background that ends with the home at the latest."""
        self._background.append(started)

    # --- the daemon ------------------------------------------------------------------------------------------------------

    def daemon_pid(self):
        """Of the live daemon, or None. Looked up among the processes, so that looking never starts one."""
        for process in processes.processes():
            if process.name == "runnerd" and process.mentions(self.token):
                return process.pid
        return None

    def kill_daemon(self, number=signal.SIGKILL):
        pid = self.daemon_pid()
        if pid is None:
            raise AssertionError("there is no daemon to kill")
        processes.kill_and_wait(pid, number)
        return pid

    def daemon_log(self):
        try:
            with open(self.data + "/daemon.log", errors="replace") as file:
                return file.read()[-6000:]
        except OSError:
            return "(no daemon.log)"

    def run_directory(self, run_id):
        return "%s/runs/%s" % (self.data, run_id)

    # --- the broom -------------------------------------------------------------------------------------------------------

    def leftovers(self, text):
        """Everything of a run (or, with the token, of all runs) that still exists outside the databases."""
        own = {"runnerd", "runner"}
        left = ["process %r" % p for p in processes.mentioning(text) if p.name not in own and not self._is_ours(p)]
        left += ["cgroup " + path for path in processes.cgroups_mentioning(text)]
        left += ["mount " + path for path in processes.mounts_mentioning(text)]
        runs = self.data + "/runs"
        if os.path.isdir(runs):
            left += ["run directory " + name for name in os.listdir(runs) if text in name]
        if self.engine:
            left += self.engine.leftovers(text)
        return left

    def _is_ours(self, process):
        """A command the test itself holds open, or a child of one."""
        return any(process.pid == started.process.pid for started in self._background)

    @staticmethod
    def _remove_cgroup(cgroup):
        try:
            os.rmdir(cgroup)
        except FileNotFoundError:
            pass
        except OSError:  # busy for a moment after its last process
            return False
        return True

    def assert_nothing_left(self, text=None, deadline=10):
        left = []

        def clean():
            left[:] = self.leftovers(text or self.token)
            return not left
        try:
            wait_until(clean, "nothing is left", deadline)
        except AssertionError:
            raise AssertionError("left behind:\n  " + "\n  ".join(left)) from None

    def close(self):
        """Kills, unmounts and removes everything of this home, whatever state a failed test left it in."""
        for started in self._background:
            started.kill()
        for number in range(3):  # a shim may be about to start something
            for process in processes.mentioning(self.token):
                try:
                    os.kill(process.pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    pass
            if not processes.mentioning(self.token):
                break
        try:
            wait_until(lambda: not processes.mentioning(self.token), "the processes of %s are gone" % self.base, 10)
        except AssertionError as problem:
            print("cleanup: %s: %r" % (problem, processes.mentioning(self.token)), file=sys.stderr)
        if self.engine:
            self.engine.sweep(self.token)
        # The container with which a killed daemon was trying its runtime is named after the daemon alone.
        trials = [name for name in (os.listdir(self.data + "/cache") if os.path.isdir(self.data + "/cache") else []) if name.startswith("trial-")]
        for mount in processes.mounts_mentioning(self.token):
            subprocess.run(["umount", "-l", mount], stderr=subprocess.DEVNULL)
        for text in [self.token] + trials:
            for cgroup in processes.cgroups_mentioning(text):
                try:
                    wait_until(lambda: self._remove_cgroup(cgroup), "%s is removed" % cgroup, 5)
                except AssertionError as problem:
                    print("cleanup: %s" % problem, file=sys.stderr)
        if os.geteuid() != 0:  # overlay leaves directories that their owner may not enter
            for directory, names, _ in os.walk(self.base):
                for name in names:
                    path = os.path.join(directory, name)
                    if not os.path.islink(path) and not os.stat(path).st_mode & stat.S_IXUSR:
                        os.chmod(path, 0o700)
        subprocess.run(["rm", "-rf", "--", self.base], check=False)  # shutil.rmtree recurses: some trees are too deep for it
        if os.path.lexists(self.base):
            print("cleanup: %s could not be removed" % self.base, file=sys.stderr)
