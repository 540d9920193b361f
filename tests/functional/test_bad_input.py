"""Bad input and bad surroundings: one clear line, a hint, the right exit code, and nothing half done."""
import json
import os
import subprocess
import unittest

from support import program, settings
from support.case import RunnerTest
from support.settings import only_for


class BadInput(RunnerTest):
    def setUp(self):
        super().setUp()
        self.write("main.py", "pass\n")

    def refused(self, code, *arguments, parts=(), hint=True, **options):
        """A submission that must fail and leave no run."""
        before = self.runs()
        result = self.runner("submit", *arguments, **options)
        self.assert_error(result, code, *parts, hint=hint)
        self.assertEqual(result.out, b"")
        self.assert_no_new_run(before)
        return result

    def test_a_missing_script(self):
        self.refused(2, "nowhere.py", parts=["nowhere.py", self.project])

    def test_a_script_that_is_a_directory(self):
        os.mkdir(self.project + "/folder")
        self.refused(2, "folder", parts=["folder"], hint=False)

    def test_a_script_outside_of_the_source_directory(self):
        other = self.home.new_project()
        self.home.write(other + "/other.py", "pass\n")
        for path in (other + "/other.py", "../%s/other.py" % os.path.basename(other)):
            with self.subTest(path):
                self.refused(2, path, parts=["outside"])

    def test_an_ignored_script(self):
        self.write(".gitignore", "# comment\nsecret*\n")
        self.write("secret.py", "pass\n")
        self.refused(2, "secret.py", parts=["secret.py", ".gitignore:2"])

    def test_no_script_at_all(self):
        self.refused(2)

    def test_a_file_that_says_nothing_about_what_runs_it(self):
        self.write("job.txt", "just text\n")
        self.refused(2, "job.txt", parts=["job.txt"])

    @only_for("ordinary")
    def test_unreadable_files_are_all_named(self):
        for name in ("one.txt", "two.txt"):
            os.chown(self.write(name, "x", 0o600), 0, 0)
        result = self.refused(5, "main.py", parts=["one.txt", "two.txt"])
        self.assertEqual(len(result.error_lines), 2)

    @only_for("ordinary")
    def test_an_unreadable_directory(self):
        os.mkdir(self.project + "/closed", 0o700)
        self.refused(5, "main.py", parts=["closed"])

    def test_a_duration_that_does_not_parse(self):
        for text in ("soon", "-5", "1x", "", "1h30", "nan", "0"):
            with self.subTest(text):
                self.refused(2, "--max-run-duration", text, "main.py", parts=["--max-run-duration"])
        self.refused(2, "--grace", "long", "main.py", parts=["--grace", "long"])

    def test_sizes_and_counts_that_do_not_parse(self):
        for option, text in (("--memory", "much"), ("--shm-size", "-1"), ("--cpus", "many"), ("--pids", "0"), ("--network", "maybe"),
                             ("--isolation", "jail")):
            with self.subTest(option):
                self.refused(2, option, text, "main.py", parts=[option], hint=None)

    def assert_error(self, result, code, *parts, hint=True):
        if hint is None:  # either is fine
            hint = any(line.startswith("hint: ") for line in result.error_lines)
        super().assert_error(result, code, *parts, hint=hint)

    def test_a_mount_that_cannot_be(self):
        for text in ("nocolon", "relative:/x", "/tmp:relative", "/no/such/place:/x", "/tmp:/proc", "/tmp:/", ":/x", "/tmp:/run/runner"):
            with self.subTest(text):
                self.refused(2, "--mount", text, "main.py", parts=["--mount"])

    def test_the_data_directory_cannot_be_mounted(self):
        self.runs()
        self.refused(2, "--mount", self.home.data + ":/data", "main.py", parts=["data directory"], hint=None)

    def test_a_mount_where_nothing_can_be_mounted_is_refused_before_there_is_a_run(self):
        for target in ("/usr/no/such/place", "/etc/runner-test", self.project):
            with self.subTest(target):
                self.refused(2, "--mount", "/tmp:" + target, "main.py", parts=[target], hint=None)

    def test_the_home_directory_or_the_root_as_source(self):
        script = os.path.join(self.account.home, "script-%s.py" % self.home.token)
        self.home.write(script, "pass\n")
        self.addCleanup(os.remove, script)
        self.refused(2, os.path.basename(script), parts=[self.account.home], directory=self.account.home)
        self.refused(2, "x.py", parts=["/"], directory="/")

    @only_for("ordinary")
    def test_the_home_directory_is_accepted_when_it_is_named(self):
        script = os.path.join(self.account.home, "script-%s.py" % self.home.token)
        self.home.write(script, "print('home')\n")
        self.addCleanup(os.remove, script)
        self.assertEqual(self.submit("--source-dir", self.account.home, os.path.basename(script)).text, "home\n")

    def test_a_source_directory_that_does_not_exist(self):
        self.refused(3, "--source-dir", self.project + "/none", "main.py", parts=["none"], hint=None)

    def test_an_interpreter_that_does_not_exist(self):
        self.refused(2, "--python", "/no/such/python", "main.py", parts=["/no/such/python"])

    def test_an_interpreter_that_is_none(self):
        self.refused(2, "--python", "/bin/true", "main.py", parts=["/bin/true"])

    def test_an_unknown_option_names_the_nearest(self):
        result = self.refused(2, "--max-run-duratoin", "5", "main.py", parts=["--max-run-duratoin"])
        self.assertIn("--max-run-duration", result.error_lines[1])

    def test_an_unknown_command_and_no_command(self):
        self.assert_error(self.runner("sumbit", "main.py"), 2, "sumbit")
        self.assert_error(self.runner(), 2)

    def test_an_illegal_experiment_name(self):
        self.refused(2, "-e", "no spaces please", "main.py", parts=["experiment"])

    def test_a_parent_that_does_not_exist(self):
        self.refused(3, "--parent", "no-such-run", "main.py", parts=["no-such-run"], hint=None)

    def test_a_runconfig_that_does_not_exist(self):
        self.refused(2, "-c", "nothing", "main.py", parts=["nothing"], hint=None)

    def test_an_error_is_json_when_json_was_asked_for(self):
        before = self.runs()
        result = self.runner("submit", "--json", "nowhere.py")
        self.assertEqual((result.code, result.out), (2, b""))
        error = json.loads(result.err)["error"]
        self.assertEqual((sorted(error), error["code"]), (["code", "hint", "message"], "invalid"))
        self.assertIn("nowhere.py", error["message"])
        self.assert_no_new_run(before)

    def test_a_socket_path_over_107_bytes(self):
        self.assert_error(self.runner("--socket", "/tmp/" + "s" * 103, "run", "list"), 2, "107")
        long_home = self.home.base + "/" + "h" * 100
        self.assert_error(self.runner("--home", long_home, "run", "list"), 2, "107")
        self.assertFalse(os.path.exists(long_home))


class BadSurroundings(RunnerTest):
    fresh_home = True

    def setUp(self):
        super().setUp()
        self.write("main.py", "print('ran')\n")

    def assert_no_runtime(self):
        result = self.runner("submit", "main.py")
        self.assert_error(result, 125, "OCI runtime")
        self.assertEqual(self.runs(), [])
        return result

    def test_no_oci_runtime(self):
        self.home.runtime = "/nonexistent/crun"
        self.assert_no_runtime()
        rows = self.runner("doctor", "--json").json["items"]
        self.assertTrue(any(not row["works"] and row["remedy"] for row in rows), rows)

    def test_an_oci_runtime_that_does_not_work_names_its_own_words(self):
        broken = self.home.write(self.home.base + "/crun", "#!/bin/sh\necho 'broken on purpose' >&2\nexit 1\n", 0o755)
        self.home.runtime = broken
        self.assert_no_runtime()
        rows = self.runner("doctor", "--json").json["items"]
        self.assertTrue(any(not row["works"] and "broken on purpose" in row["detail"] for row in rows), rows)

    def test_a_runtime_that_works_again_is_used_after_a_restart(self):
        broken = self.home.write(self.home.base + "/crun", "#!/bin/sh\nexit 1\n", 0o755)
        self.home.runtime = broken
        self.assert_no_runtime()
        self.ok("daemon", "stop")
        self.home.runtime = settings.RUNTIME
        self.assertEqual(self.submit("main.py").text, "ran\n")

    @only_for("ordinary")
    def test_no_user_namespaces(self):
        # A user namespace of our own in which no further ones may be made: what the daemon sees is what a machine with
        # user.max_user_namespaces = 0 shows.
        shell = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --inh-caps=-all --ambient-caps=-all --bounding-set=-all \"$@\""
        confined = ["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c", shell, "sh"]
        trial = self.home.call(*confined, "unshare", "--user", "true")
        self.assertNotEqual(trial.code, 0, "namespaces are still allowed: the test proves nothing")
        self.assertNotIn("Permission denied", trial.err)
        result = self.home.call(*confined, program.program("runner"), "submit", "main.py", directory=self.project)
        self.assert_error(result, 125)
        self.assertEqual(self.runs(), [])
        rows = {row["name"]: row for row in self.runner("doctor", "--json").json["items"]}
        self.assertFalse(rows["user namespaces"]["works"])
        self.assertIn("max_user_namespaces", rows["user namespaces"]["remedy"])
        self.assertIn("user namespaces", result.error_lines[0])
        self.assertIn("max_user_namespaces", result.error_lines[1])

    def small_home(self, megabytes):
        os.mkdir(self.home.data, 0o700)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm,uid=%d,gid=%d,mode=700" % (megabytes, self.account.uid, self.account.gid),
                               "rt-" + self.home.token, self.home.data], capture_output=True, text=True)
        if done.returncode != 0:
            self.skipTest("no tmpfs can be mounted here: " + done.stderr)
        # self.home.close() unmounts it

    def submit_what_does_not_fit(self):
        self.small_home(16)
        self.submit("main.py")
        before = self.runs()
        self.write("data.bin", os.urandom(30 << 20))
        result = self.runner("submit", "main.py")
        os.remove(self.project + "/data.bin")
        return before, result

    def test_a_disk_that_is_full_while_submitting(self):
        before, result = self.submit_what_does_not_fit()
        self.assert_error(result, 125, "full")
        self.assert_no_new_run(before)
        self.assertEqual(self.log(), b"ran\n")  # what was there is still read

    def test_a_submission_that_did_not_fit_gives_its_space_back(self):
        self.submit_what_does_not_fit()
        self.assertEqual(self.submit("main.py").text, "ran\n")

    def test_a_home_of_somebody_else(self):
        if self.account.uid == 0:
            os.mkdir(self.home.data)
            os.chown(self.home.data, 65534, 65534)
        else:
            os.mkdir(self.home.data)
            os.chown(self.home.data, 0, 0)
        self.assert_error(self.runner("run", "list"), 5, self.home.data, hint=bool(self.account.uid == 0))

    def test_a_damaged_configuration_names_file_and_line(self):
        self.home.configure("parallel = 2\nparalel = 3\n")
        result = self.runner("run", "list")
        self.assertEqual(result.code, 2, result.describe())
        self.assertRegex(result.error_lines[0], r"config\.toml:2:")

    def test_a_database_of_something_else_is_refused_untouched(self):
        content = b"this is no database" * 100
        self.home.write(self.home.data + "/runner.db", content)
        os.chmod(self.home.data, 0o700)
        result = self.runner("run", "list")
        self.assertIn(result.code, (4, 125), result.describe())
        self.assertTrue(result.error_lines[0].startswith("runner: error: "), result.describe())
        self.assertIn("runner.db", result.err)
        with open(self.home.data + "/runner.db", "rb") as file:
            self.assertEqual(file.read(), content)
