"""The base of the tests that look at the engine itself, beside what every test asks of a run."""
import os
import textwrap

from . import settings
from .case import GATE, RunnerTest

BUSYBOX = "runner-test/busybox:1"  # a shell and nothing else: 2 MB, where Python is not the point

# As case.GATE, for a shell.
SHELL_GATE = textwrap.dedent("""\
    tell() { echo "$2" >"/gate/$1.new"; mv "/gate/$1.new" "/gate/$1"; }
    await() { while [ ! -e "/gate/$1" ]; do sleep 0.01; done; }
    """)


class DockerTest(RunnerTest):
    @property
    def engine(self):
        return self.home.engine

    def detach_shell(self, code, *options, image=BUSYBOX, **more):
        """A shell script that can tell and await, in an image without Python; `code` comes after those two."""
        self.write("main.sh", SHELL_GATE + textwrap.dedent(code))
        return self.ok("submit", "--detach", "--image", image, *self.with_gate, *options, "main.sh", **more).text.strip()

    def container_of(self, run_id):
        """`docker inspect` of the run's container; fails when there is none."""
        found = self.engine.container_of(run_id)
        self.assertIsNotNone(found, "no container has the label runner.run=" + run_id)
        return found

    def image(self, reference):
        """`docker image inspect`; fails when there is none."""
        found = self.engine.image(reference)
        self.assertIsNotNone(found, "the engine has no image " + reference)
        return found

    def hold_the_queue(self):
        """A run that keeps the next ones queued until open_gate("release"), and needs no engine for it."""
        self.write("blocker.py", GATE + "tell('held')\nawait_('release')\n")
        blocker = self.ok("submit", "--detach", "--python", settings.PYTHON, *self.with_gate, "blocker.py").text.strip()
        self.await_gate("held")
        return blocker

    def own_image(self, name):
        """A new image that nobody else has, with the busybox image's programs; removed after the test. Its reference."""
        reference = "%s-%s:1" % (name, self.home.token)
        self.engine.derive(BUSYBOX, reference, {"/own-" + self.home.token: os.urandom(1 << 20)})
        self.addCleanup(self.engine.remove_image, reference)
        return reference
