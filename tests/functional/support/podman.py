"""Podman's socket that speaks Docker's API, with storage of its own: for the tests of one module, root only."""
import os
import shutil
import subprocess
import tempfile

from .engine import Engine
from .waiting import wait_until

# What Podman assumes by default is not allowed everywhere: crun refuses hybrid cgroups, and a container that may not raise
# its limits cannot start.
_CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def missing():
    if os.geteuid() != 0:
        return "only root's Podman is tested"
    return "" if shutil.which("podman") else "podman is missing (apt-get install podman)"


class Podman(Engine):
    def __init__(self, images):
        """`images` are copied from the test engine."""
        self._directory = tempfile.mkdtemp(prefix="rt-podman-", dir="/tmp")
        super().__init__(os.path.join(self._directory, "podman.sock"))
        configuration = os.path.join(self._directory, "containers.conf")
        limit = "%d:%d" % os_limits()
        with open(configuration, "w") as file:
            file.write(_CONFIGURATION.replace("nofile=1024:1024", "nofile=" + limit))
        self._storage = ["podman", "--root", self._directory + "/root", "--runroot", self._directory + "/run"]
        self._environment = {**os.environ, "CONTAINERS_CONF": configuration}
        self._log = open(os.path.join(self._directory, "log"), "wb")
        self._process = subprocess.Popen([*self._storage, "system", "service", "--time", "0", self.address],
                                         env=self._environment, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        try:
            wait_until(self._answers, "Podman answers")
            for image in images:
                Engine.of_the_tests().copy_image_to(self, image)
        except BaseException:
            self.close()
            raise

    def _answers(self):
        if self._process.poll() is not None:
            with open(self._log.name, errors="replace") as file:
                raise AssertionError("podman ended with %d: %s" % (self._process.returncode, file.read()[-2000:]))
        try:
            return self.request("GET", "/_ping")[0] == 200
        except OSError:
            return False

    def close(self):
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        subprocess.run([*self._storage, "system", "reset", "--force"], env=self._environment, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
        with open("/proc/self/mountinfo") as file:
            mounts = [line.split()[4] for line in file if self._directory in line]
        for mount in reversed(mounts):
            subprocess.run(["umount", "-l", mount], stderr=subprocess.DEVNULL)
        shutil.rmtree(self._directory, ignore_errors=True)


def os_limits():
    """The hard limit of open files, twice: Podman takes the lower of its own and ours as the soft one."""
    import resource
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return hard, hard
