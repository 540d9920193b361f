"""An engine that a test may kill, stop and start again: a dockerd of its own, with tools/test-engine's knowledge of how."""
import os
import shutil
import signal
import subprocess
import tempfile

from . import processes, settings
from .engine import Engine
from .waiting import wait_until

_PROGRAM = os.path.join(settings.SOURCE_ROOT, "tools", "test-engine")


class PrivateEngine(Engine):
    def __init__(self, *options, images=("runner-test/busybox:1",)):
        """`options` of dockerd; `images` are copied from the test engine."""
        self.directory = tempfile.mkdtemp(prefix="rt-engine-", dir="/tmp")
        self._options = options
        try:
            super().__init__(self._start())
            for image in images:
                Engine.of_the_tests().copy_image_to(self, image)
        except BaseException:
            self.close()
            raise

    def _start(self):
        done = subprocess.run([_PROGRAM, "start", self.directory, "--no-images", *self._options], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=90)
        if done.returncode != 0:
            raise AssertionError("no private engine: " + done.stderr)
        return done.stdout.strip().split("unix://", 1)[1]

    def pid(self):
        with open(os.path.join(os.path.dirname(self.socket), "pid")) as file:
            return int(file.read())

    def kill_dockerd(self):
        """SIGKILL: its containers live on."""
        processes.kill_and_wait(self.pid())

    def hang(self):
        """SIGSTOP: connections are accepted by the kernel and never answered."""
        pid = self.pid()
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: processes.Process(pid).state == "T", "dockerd is stopped")

    def go_on(self):
        os.kill(self.pid(), signal.SIGCONT)

    def start_again(self):
        self._start()

    def close(self):
        subprocess.run([_PROGRAM, "stop", self.directory], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=90)
        shutil.rmtree(self.directory, ignore_errors=True)
