"""A driver's side: a fake daemon on the control socket, and scripts that talk to it."""

import os
import textwrap

from support import CHECKS, FakeDaemon, ScriptCase, document_of, refused

PROLOGUE = CHECKS + """
import json, os, sys
import runner
from runner import Environment, Experiment, Run, ScriptRunConfig
"""


class DriverCase(ScriptCase):
    def setUp(self):
        super().setUp()
        self.home = os.path.join(self.directory, "home")
        os.mkdir(self.home)
        self.socket = os.path.join(self.home, "control.sock")
        self.routes = {}
        self.write("src/train.py", "print(1)")

    def answer(self, asked):
        if "authorization" in asked.headers:
            return refused("internal", "a driver has no token")
        key = "{} {}".format(asked.method, asked.path)
        for route, found in self.routes.items():
            if key == route or (route.endswith("*") and key.startswith(route[:-1])):
                return found(asked) if callable(found) else found
        return refused("notFound", "no route " + key)

    def start_daemon(self):
        self.daemon = FakeDaemon(self.socket, self.answer)
        self.addCleanup(self.daemon.die)

    def drive(self, text, check=True, **more):
        if not hasattr(self, "daemon"):
            self.start_daemon()
        return self.run_script(
            PROLOGUE + textwrap.dedent(text), inside=False, check=check, **dict({"RUNNER_HOME": self.home}, **more)
        )

    def submitted(self, text, **more):
        """The submission of a script, without what depends on the caller."""
        self.routes["POST /v1/runs"] = (201, document_of("new"))
        self.drive(text, **more)
        document = dict(self.daemon.asked[-1].document)
        self.assertTrue(document.pop("idempotencyKey"))
        self.caller = document.pop("caller")
        return document
