"""What a cached environment may be and may not be: nothing runs with something else than what was asked for."""
import glob
import os
import shutil

from support.waiting import wait_until
from test_venv import SlowBuild, VenvTest


class Solutions(VenvTest):
    fresh_home = True

    def submit_alpha(self, *options):
        """The version that the run saw."""
        return self.submit("--requirements", "requirements.txt", *options, "main.py").text.split()[0]

    def prefix_of(self, run="@last"):
        return self.log(run).decode().split()[1]

    def two_solutions(self):
        """1.0, then 1.1 by --rebuild; the run of the first."""
        self.wheels.add("alpha", "1.0")
        self.requirements("alpha")
        self.assertEqual(self.submit_alpha(), "1.0")
        first = self.show()["runId"]
        wait_until(lambda: not glob.glob(self.home.data + "/envs/*/scratch"), "all that is kept is kept")
        self.wheels.add("alpha", "1.1")
        self.assertEqual(self.submit_alpha("--rebuild"), "1.1")
        return first

    def test_a_repetition_of_the_past_does_not_change_what_an_environment_means(self):
        first = self.two_solutions()
        shutil.rmtree(self.prefix_of(first))
        self.assertTrue(self.ok("run", "rerun", first).text.startswith("1.0 "))
        self.assertEqual(self.submit_alpha(), "1.1")

    def test_what_was_removed_comes_back_and_not_an_older_one(self):
        self.two_solutions()
        shutil.rmtree(self.prefix_of())
        self.assertEqual(self.submit_alpha(), "1.1")

    def test_a_changed_or_removed_file_is_seen_and_gc_frees_what_it_leaves(self):
        self.wheels.add("alpha", "1.0")
        self.requirements("alpha")
        self.assertEqual(self.submit_alpha(), "1.0")
        for change in (lambda path: self.home.write(path, "VERSION = '666'\n"), os.remove):
            [module] = glob.glob(self.prefix_of() + "/lib/python*/site-packages/alpha.py")
            change(module)
            self.assertEqual(self.submit_alpha(), "1.0")
        self.assertEqual(len(self.environments()), 3)
        wait_until(lambda: not glob.glob(self.home.data + "/envs/*/scratch"), "all that is kept is kept")
        self.assertIn("left half done", self.ok("gc", "--explain", "--dry-run").text)
        self.assertEqual(len(self.environments()), 3)
        self.ok("gc")
        self.assertEqual(len(self.environments()), 1)
        self.assertEqual(self.submit_alpha(), "1.0")
        self.assertEqual(len(self.environments()), 1)

    def test_a_dry_run_says_whether_the_environment_is_there(self):
        self.wheels.add("alpha", "1.0")
        self.requirements("alpha")
        dry = ("submit", "--dry-run", "--requirements", "requirements.txt", "main.py")
        self.assertRegex(self.ok(*dry).text, r"venv [0-9a-f]{12} \(would be built\)")
        self.submit_alpha()
        self.assertRegex(self.ok(*dry).text, r"venv [0-9a-f]{12} \(cached\)")

    def test_a_saved_environment_is_called_by_its_name(self):
        self.wheels.add("alpha", "1.0")
        self.requirements("alpha")
        self.submit_alpha()
        name = self.show()["environment"]["name"]
        self.assertTrue(name.startswith("Autosave_"))
        for options in ((name,), (name + ":1",), (name, "-v", "1")):
            self.assertIn("alpha", self.ok("env", "show", *options).text)
        self.assertTrue(self.submit("--env", name, "main.py").text.startswith("1.0 "))
        self.ok("env", "delete", name)
        self.assertEqual(self.runner("env", "show", name).code, 3)


class Restarted(SlowBuild):
    """The daemon is killed while a run waits behind another's build, and comes back without the caller's variables."""

    def waiting_run(self, environment):
        self.slow_package()
        self.detach("--requirements", "slow.txt", "main.py")
        self.await_gate("building")
        self.write("plain.txt", "alpha\n")
        run = self.detach("--requirements", "plain.txt", "main.py", environment=environment)
        self.home.kill_daemon()
        os.remove(self.gate + "/building")
        self.runner("run", "list", environment={"PIP_INDEX_URL": "http://127.0.0.1:9/other", "PIP_RETRIES": "9"})
        self.await_gate("building")
        self.open_gate("go")
        return run

    def test_packages_come_from_where_the_caller_said(self):
        self.wheels.add("alpha", "1.0")
        run = self.waiting_run({"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": self.wheels.path})
        self.wait(run)
        self.assertTrue(self.log(run).startswith(b"1.0 "))

    def test_credentials_that_are_gone_are_named(self):
        run = self.waiting_run({"PIP_INDEX_URL": "http://me:hunter2hunter2@127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_FIND_LINKS": ""})
        ended = self.wait(run, 125)
        self.assertEqual(ended["outcome"]["kind"], "environment_failed")
        self.assertIn("credentials in PIP_INDEX_URL", ended["error"]["hint"])
        self.assertIn("submit again", ended["error"]["hint"])
        self.assertNotIn("hunter2", str(ended))


class Words(SlowBuild):
    def test_a_failure_in_words_that_are_cut_within_a_letter_ends_the_run_once(self):
        project = self.home.new_project()
        self.home.write(project + "/loud-1.0/setup.py", "print('\\u00e9' * 3000)\nprint('x' + '\\u00e9' * 3000)\nraise SystemExit('e' * 9)\n")
        self.home.call("tar", "-czf", project + "/loud-1.0.tar.gz", "-C", project, "loud-1.0")
        self.write("loud.txt", "--no-index\n" + project + "/loud-1.0.tar.gz\n")
        run = self.detach("--requirements", "loud.txt", "main.py")
        ended = self.wait(run, 125)
        self.assertEqual(ended["outcome"]["kind"], "environment_failed")
        self.assertIn("\u00e9\u00e9\u00e9", ended["error"]["message"])
        self.assertNotIn("could not be written", self.home.daemon_log())

    def test_following_the_log_of_a_run_shows_its_preparation(self):
        self.slow_package()
        run = self.detach("--requirements", "slow.txt", "main.py")
        self.await_gate("building")
        following = self.home.background("logs", "-f", run)
        self.open_gate("go")
        self.wait(run, 125)
        self.assertIn("installing", following.finish().err)
