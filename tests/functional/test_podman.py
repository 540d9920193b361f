"""Podman's compatible socket: what it does differently, and that a run is none the worse for it."""
import os

from support import podman
from support.docker_case import BUSYBOX, DockerTest
from support.home import Home


class OnPodman(DockerTest):
    @classmethod
    def make_home(cls):
        if problem := podman.missing():
            cls.problem = problem
            return Home()
        cls.problem = ""
        engine = podman.Podman([BUSYBOX])
        cls.addClassCleanup(engine.close)
        return Home(engine=engine)

    def setUp(self):
        super().setUp()
        if self.problem:
            self.skipTest(self.problem)

    def test_doctor_knows_it(self):
        check = next(c for c in self.ok("doctor", "--json").json["items"] if c["name"] == "container engine")
        self.assertTrue(check["works"], check)
        self.assertIn("Podman", check["detail"])

    def test_the_working_directory_is_a_copy_and_what_the_run_changed_is_kept(self):
        self.write("outputs/given", "as submitted\n")
        self.write("outputs/changed", "as submitted\n")
        self.write("source", "as submitted\n")
        self.write("main.sh", "echo changed >outputs/changed; echo new >outputs/new; echo ours >source; rm main.sh; echo $PWD; exit 3\n")
        result = self.ok("submit", "--image", BUSYBOX, "main.sh", code=3)
        self.assertEqual(result.text, self.project + "\n")
        run = self.show()
        self.assertEqual([output["name"] for output in run["outputs"]], ["outputs/changed", "outputs/new"])
        self.assertIn("copy", "\n".join(run["notices"]))
        with open(os.path.join(self.project, "source")) as file:
            self.assertEqual(file.read(), "as submitted\n")
        self.home.assert_nothing_left(run["runId"])

    def test_limits_secrets_and_commands(self):
        run_id = self.detach_shell("cat /run/secrets/TOKEN >/gate/secret\ntell running\nawait go\nexit 5\n", "--memory", "64m",
                                   "--secret", "TOKEN", environment={"TOKEN": "for podman"})
        self.await_gate("running")
        with open(os.path.join(self.gate, "secret")) as file:
            self.assertEqual(file.read(), "for podman")
        self.assertEqual(self.container_of(run_id)["HostConfig"]["Memory"], 64 << 20)
        self.ok("run", "pause", run_id)
        self.assertEqual(self.show(run_id)["status"], "Paused")
        self.ok("run", "resume", run_id)
        self.assertEqual(self.ok("run", "exec", run_id, "--", "sh", "-c", "echo inside; exit 4", code=4).text, "inside\n")
        self.open_gate("go")
        self.wait(run_id, 5)
        self.home.assert_nothing_left(run_id)

    def test_a_run_at_its_limit_ends(self):
        run_id = self.detach_shell("trap '' TERM\nwhile :; do sleep 1; done\n", "--max-run-duration", "1s", "--grace", "200ms")
        self.assertEqual(self.wait(run_id, 124)["outcome"]["kind"], "timed_out")
        self.home.assert_nothing_left(run_id)
