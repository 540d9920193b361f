"""`--secret NAME`: the script gets it as a file in memory, and it is stored nowhere."""
import json
import os
import secrets

from support import processes, settings
from support.case import RunnerTest
from support.waiting import wait_until


class Secrets(RunnerTest):
    fresh_home = True  # all of its files are searched

    def setUp(self):
        super().setUp()
        self.value = "s3cret-" + secrets.token_hex(12)
        self.given = {"API_KEY": self.value}
        self.runs()  # a daemon that was not started with the variable

    def files_with_it(self):
        found = []
        for directory, _, names in os.walk(self.home.base):
            for name in names:
                path = os.path.join(directory, name)
                try:
                    if not os.path.isfile(path) or os.path.islink(path):
                        continue
                    with open(path, "rb") as file:
                        if self.value.encode() in file.read():
                            found.append(path)
                except FileNotFoundError:
                    pass
        return found

    def gated(self):
        run_id = self.detach_gated("""\
            import json, stat
            path = "/run/secrets/API_KEY"
            info = os.stat(path)
            types = {line.split()[4]: line.split(" - ")[1].split()[0] for line in open("/proc/self/mountinfo")}
            mounted = max((place for place in types if path.startswith(place)), key=len)
            facts = {"length": len(open(path).read()), "tail": open(path).read()[-4:], "mode": stat.S_IMODE(info.st_mode),
                     "own": info.st_uid == os.getuid(), "type": types[mounted], "names": os.listdir("/run/secrets"),
                     "variables": [name for name, value in os.environ.items() if value == open(path).read()]}
            tell("facts", json.dumps(facts))
            await_("go")
            """, "--secret", "API_KEY", environment=self.given)
        return run_id, json.loads(self.await_gate("facts"))

    def test_it_is_a_file_in_memory_that_only_the_user_can_read(self):
        run_id, facts = self.gated()
        self.open_gate("go")
        self.wait(run_id)
        self.assertEqual(facts, {"length": len(self.value), "tail": self.value[-4:], "mode": 0o400, "own": True, "type": "tmpfs",
                                 "names": ["API_KEY"], "variables": []})

    def test_it_is_in_no_file_no_answer_and_no_container_configuration(self):
        run_id, _ = self.gated()
        self.assertEqual(self.files_with_it(), [])
        if settings.ISOLATION == "docker":
            container = self.home.engine.container_of(run_id)
            self.assertIn(run_id, json.dumps(container))
            self.assertNotIn(self.value, json.dumps(container))
        shim = processes.shim_of(run_id)
        self.assertFalse(shim.mentions(self.value))
        self.assertNotIn(self.value, json.dumps(self.show(run_id)))
        self.open_gate("go")
        run = self.wait(run_id)
        self.assertEqual(run["runDefinition"]["secrets"], ["API_KEY"])
        self.assertNotIn(self.value, json.dumps(run))
        self.home.kill_daemon()  # with what a database had not yet written to its main file
        self.assertEqual(self.files_with_it(), [])

    def test_one_that_nobody_knows_is_refused(self):
        self.write("main.py", "pass\n")
        before = self.runs()
        result = self.runner("submit", *self.isolation_options(), "--secret", "NO_SUCH_SECRET", "main.py")
        self.assertIn(result.code, (2, 3), result.describe())
        self.assertIn("NO_SUCH_SECRET", result.err)
        self.assert_no_new_run(before)

    def test_without_the_option_there_is_none(self):
        facts = self.python_facts("facts['there'] = os.path.exists('/run/secrets/API_KEY')\nfacts['variable'] = os.environ.get('API_KEY')",
                                  environment=self.given)
        self.assertEqual(facts, {"there": False, "variable": None})

    def test_a_daemon_that_lost_it_before_the_start_says_so(self):
        blocker = self.detach_gated("tell('running')\nawait_('go')\n")
        self.await_gate("running")
        queued = self.detach_python("pass\n", "--secret", "API_KEY", environment=self.given)
        self.home.kill_daemon()
        self.open_gate("go")
        self.wait(blocker)
        run = self.wait(queued, 125)
        self.assertEqual((run["status"], run["outcome"]["kind"]), ("Failed", "start_failed"))
        self.assertIn("API_KEY", run["outcome"]["message"])
        self.assertTrue(run["error"]["hint"])

    def test_a_running_run_keeps_it_through_the_daemons_death(self):
        run_id, _ = self.gated()
        self.home.kill_daemon()
        self.open_gate("go")
        self.wait(run_id)
        wait_until(lambda: not self.home.leftovers(run_id), "nothing is left")
