"""Virtual environments of requirements: built once, shared, locked, explained; with real pip and wheels made here."""
import os
import shutil
import signal
import time

from support import settings
from support.case import RunnerTest
from support.waiting import wait_until
from support.wheels import WheelDirectory

BUILD_LOG = "system_logs/environment_build.log"


class VenvTest(RunnerTest):
    def setUp(self):
        super().setUp()
        self.wheels = WheelDirectory(self.home)
        self.write("main.py", "import alpha, sys\nprint(alpha.VERSION, sys.prefix)\n")

    def requirements(self, *lines, name="requirements.txt"):
        return self.write(name, self.wheels.options() + "".join(line + "\n" for line in lines))

    def environments(self):
        directory = self.home.data + "/envs"
        return sorted(os.listdir(directory)) if os.path.isdir(directory) else []

    def build_log(self, run="@last"):
        return self.ok("logs", "--name", BUILD_LOG, run).text


class Building(VenvTest):
    fresh_home = True

    def test_an_environment_is_built_once_and_is_the_same_for_a_reordered_file(self):
        self.wheels.add("alpha", "1.0", requires=["beta"])
        self.wheels.add("beta", "2.0")
        self.requirements("alpha", "# a comment", "beta>=1")
        first = self.submit("--requirements", "requirements.txt", "main.py")
        self.assertRegex(first.text, r"^1\.0 %s/envs/[0-9a-f]{16}-1/prefix\n$" % self.home.data)
        self.assertIn("making a virtual environment", first.err)
        built = self.show()
        self.assertEqual(built["environment"]["kind"], "venv")
        self.assertRegex(built["environment"]["name"], "^Autosave_")
        self.assertIn(BUILD_LOG, built["logFiles"])
        self.assertIn("alpha", self.build_log())
        self.requirements("Beta >= 1", "alpha")
        second = self.submit("--requirements", "requirements.txt", "main.py")
        self.assertEqual(second.text, first.text)
        again = self.show()
        self.assertEqual(again["environment"], built["environment"])
        self.assertNotIn(BUILD_LOG, again["logFiles"])
        self.assertEqual(len(self.environments()), 1)
        lock = self.ok("env", "show", "--json", built["environment"]["digest"]).text
        for part in ("alpha", "1.0", "beta", "2.0", "sha256:"):
            self.assertIn(part, lock)

    def test_a_pyproject_is_built_with_the_callers_settings_of_pip(self):
        self.wheels.add("alpha", "1.0")
        self.write("pyproject.toml", "[project]\nname = 'x'\nversion = '1'\nrequires-python = '>=3.8'\ndependencies = ['alpha']\n")
        settings_of_pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": self.wheels.path}
        result = self.submit("--requirements", "pyproject.toml", "main.py", environment=settings_of_pip)
        self.assertTrue(result.text.startswith("1.0 "), result.describe())

    def test_submits_at_once_share_one_build(self):
        self.wheels.add("alpha", "1.0")
        self.requirements("alpha")
        runs = [self.detach("--requirements", "requirements.txt", "main.py") for _ in range(8)]
        for run in runs:
            self.assertEqual(self.wait(run)["status"], "Completed")
        self.assertEqual(len(self.environments()), 1)
        self.assertEqual(len({self.show(run)["environment"]["lockDigest"] for run in runs}), 1)

    def test_a_failed_build_is_not_cached_and_says_what_the_tool_said(self):
        self.requirements("alpha==1.0")
        result = self.submit("--requirements", "requirements.txt", "main.py", code=125)
        self.assertIn("No matching distribution found for alpha==1.0", result.err)
        self.assertIn(BUILD_LOG, result.err)
        failed = self.show()
        self.assertEqual(failed["status"], "Failed")
        self.assertEqual(failed["outcome"]["kind"], "environment_failed")
        self.assertIn(BUILD_LOG, failed["logFiles"])
        self.assertIn("alpha==1.0", self.build_log())
        wait_until(lambda: not self.environments(), "nothing of it stays")
        self.wheels.add("alpha", "1.0")
        self.assertTrue(self.submit("--requirements", "requirements.txt", "main.py").text.startswith("1.0 "))

    def test_the_time_limit_of_a_run_does_not_count_its_preparation(self):
        self.wheels.add("alpha", "1.0")
        self.requirements("alpha")
        begin = time.monotonic()
        self.submit("--requirements", "requirements.txt", "--max-run-duration", "2", "main.py")
        self.assertGreater(time.monotonic() - begin, 2, "the build was too quick to tell")

    def test_one_that_was_removed_is_built_again_from_its_lock_without_its_source(self):
        self.wheels.add("alpha", "1.0")
        self.requirements("alpha")
        self.submit("--requirements", "requirements.txt", "main.py")
        before = self.show()["environment"]
        wait_until(lambda: os.path.isdir(self.home.data + "/cache/wheels"), "the wheels are kept")
        wait_until(lambda: not any(os.path.isdir("%s/envs/%s/scratch" % (self.home.data, name)) for name in self.environments()),
                   "all that is kept is kept")
        shutil.rmtree(self.wheels.path)
        for name in self.environments():
            shutil.rmtree("%s/envs/%s" % (self.home.data, name))
        result = self.submit("--requirements", "requirements.txt", "main.py")
        self.assertTrue(result.text.startswith("1.0 "), result.describe())
        self.assertEqual(self.show()["environment"]["lockDigest"], before["lockDigest"])

    def test_rebuild_resolves_anew_and_rerun_keeps_the_old_lock(self):
        self.wheels.add("alpha", "1.0")
        self.requirements("alpha")
        self.submit("--requirements", "requirements.txt", "main.py")
        first = self.show()
        self.wheels.add("alpha", "1.1")
        self.assertTrue(self.submit("--requirements", "requirements.txt", "main.py").text.startswith("1.0 "))
        self.assertTrue(self.submit("--requirements", "requirements.txt", "--rebuild", "main.py").text.startswith("1.1 "))
        rebuilt = self.show()
        self.assertEqual(rebuilt["environment"]["digest"], first["environment"]["digest"])
        self.assertNotEqual(rebuilt["environment"]["lockDigest"], first["environment"]["lockDigest"])
        self.assertEqual(self.show(first["runId"])["environment"], first["environment"])
        self.assertTrue(self.ok("run", "rerun", first["runId"]).text.startswith("1.0 "))
        self.assertEqual(self.show()["environment"]["lockDigest"], first["environment"]["lockDigest"])

    def test_a_changed_environment_is_noticed(self):
        self.wheels.add("alpha", "1.0")
        self.requirements("alpha")
        self.submit("--requirements", "requirements.txt", "main.py")
        [name] = self.environments()
        library = "%s/envs/%s/prefix/lib" % (self.home.data, name)
        packages = "%s/%s/site-packages" % (library, os.listdir(library)[0])
        os.rename(packages + "/alpha-1.0.dist-info", packages + "/alpha-9.9.dist-info")
        self.submit("--requirements", "requirements.txt", "main.py")
        self.assertTrue(os.path.isdir("%s/envs/%s/prefix" % (self.home.data, self.environments()[-1])))
        self.assertNotEqual(self.environments(), [name])


class SlowBuild(VenvTest):
    """Builds that take as long as the test wants: a source archive whose setup waits."""
    fresh_home = True

    def slow_package(self):
        project = self.home.new_project()
        self.home.write(project + "/waits-1.0/setup.py",
                        "import os, time\nopen(%r, 'w').write(str(os.getpid()))\nwhile not os.path.exists(%r): time.sleep(0.02)\n"
                        "raise SystemExit('enough')\n" % (self.gate + "/building", self.gate + "/go"))
        self.home.call("tar", "-czf", project + "/waits-1.0.tar.gz", "-C", project, "waits-1.0")
        return self.write("slow.txt", "--no-index\n" + project + "/waits-1.0.tar.gz\n")

    def builder(self):
        with open(self.gate + "/building") as file:
            return int(file.read() or 0)


class Slow(SlowBuild):
    def test_cancelling_the_only_run_stops_its_build(self):
        self.slow_package()
        run = self.detach("--requirements", "slow.txt", "main.py")
        self.await_gate("building")
        pid = wait_until(self.builder, "the build says who it is")
        self.assertEqual(self.show(run)["status"], "Preparing")
        self.assertIn("waits-1.0", self.ok("logs", "--name", BUILD_LOG, run).text)
        self.ok("cancel", run)
        self.assertEqual(self.wait(run, code=130)["status"], "Canceled")
        wait_until(lambda: not os.path.exists("/proc/%d" % pid), "the build's processes end")
        wait_until(lambda: not self.environments(), "nothing of it stays")

    def test_a_build_that_another_run_wants_goes_on(self):
        self.slow_package()
        first = self.detach("--requirements", "slow.txt", "main.py")
        second = self.detach("--requirements", "slow.txt", "main.py")
        self.await_gate("building")
        pid = wait_until(self.builder, "the build says who it is")
        following = self.home.background("logs", "-f", "--name", BUILD_LOG, second)
        following.wait_for_output(b"waits-1.0")
        self.ok("cancel", first)
        self.assertEqual(self.wait(first, code=130)["status"], "Canceled")
        self.assertTrue(os.path.exists("/proc/%d" % pid))
        self.open_gate("go")
        self.assertEqual(self.wait(second, code=125)["outcome"]["kind"], "environment_failed")
        self.assertIn("enough", following.finish().text)

    def test_a_daemon_that_is_killed_takes_its_build_with_it_and_the_next_begins_again(self):
        self.slow_package()
        run = self.detach("--requirements", "slow.txt", "main.py")
        self.await_gate("building")
        pid = wait_until(self.builder, "the build says who it is")
        self.home.kill_daemon(signal.SIGKILL)
        wait_until(lambda: not os.path.exists("/proc/%d" % pid), "the build ends with its daemon")
        os.remove(self.gate + "/building")
        self.runner("run", "list")  # starts the next one
        self.await_gate("building")
        self.open_gate("go")
        self.assertEqual(self.wait(run, code=125)["status"], "Failed")


class Limited(SlowBuild):
    configuration = 'build_limit = "2s"\n'

    def test_a_build_has_a_limit_of_its_own(self):
        self.slow_package()
        result = self.submit("--requirements", "slow.txt", *self.with_gate, "main.py", code=125)
        self.assertIn("took longer than its limit of 2 s, the last step: ", result.err)
        self.assertIn("build_limit", result.err)
        wait_until(lambda: not self.environments(), "nothing of it stays")


class Evicted(VenvTest):
    fresh_home = True
    configuration = 'environment_cache = "1k"\n'

    def test_gc_evicts_what_no_run_needs_and_it_comes_back_from_its_lock(self):
        self.wheels.add("alpha", "1.0")
        self.requirements("alpha")
        self.submit("--requirements", "requirements.txt", "main.py")
        before = self.show()["environment"]
        self.write("wait.py", "import time\ntime.sleep(1000)\n")
        live = self.detach("--requirements", "requirements.txt", "wait.py")
        self.until_status(live, "Running")
        self.ok("gc")
        self.assertEqual(len(self.environments()), 1)
        self.ok("cancel", live)
        self.wait(live, code=130)
        dry = self.ok("gc", "--explain", "--dry-run").text
        self.assertRegex(dry, r"environment [0-9a-f]{16}-1: .*environment_cache.*it can be rebuilt from its lock")
        self.assertEqual(len(self.environments()), 1)
        self.ok("gc")
        self.assertEqual(self.environments(), [])
        self.assertTrue(self.submit("--requirements", "requirements.txt", "main.py").text.startswith("1.0 "))
        self.assertEqual(self.show()["environment"]["lockDigest"], before["lockDigest"])


class FromTheIndex(RunnerTest):
    """With the package index as this machine reaches it, if it does."""
    VARIABLES = {name: value for name, value in os.environ.items()
                 if name.startswith(("PIP_", "SSL_CERT_", "REQUESTS_CA")) or name.lower() in ("http_proxy", "https_proxy", "no_proxy")}

    def test_the_curated_scikit_learn_environment_trains_a_model(self):
        probe = self.home.call(settings.PYTHON, "-m", "pip", "download", "--no-deps", "-q", "-d", self.home.new_project(), "six",
                               environment=self.VARIABLES, timeout=120)
        if probe.code != 0:
            self.skipTest("there is no package index: " + probe.err[-300:])
        self.write("main.py", "from sklearn.linear_model import Ridge\nimport sklearn\n"
                              "print(round(Ridge(alpha=0).fit([[0.0], [1.0]], [0.0, 2.0]).coef_[0], 3))\n")
        result = self.submit("--env", "AzureML-Scikit-learn", "main.py", environment=self.VARIABLES, timeout=500)
        self.assertEqual(result.text, "2.0\n")
        environment = self.show()["environment"]
        self.assertEqual(environment["name"], "AzureML-Scikit-learn")
        self.assertIn("scikit-learn", self.ok("env", "show", "--json", environment["digest"]).text)

    def test_uv_builds_when_it_is_there(self):
        tools = self.home.new_project() + "/tools"
        self.home.call(settings.PYTHON, "-m", "venv", tools, timeout=120)
        got = self.home.call(tools + "/bin/pip", "install", "-q", "uv", environment=self.VARIABLES, timeout=200)
        if got.code != 0:
            self.skipTest("uv cannot be had: " + got.err[-300:])
        wheels = WheelDirectory(self.home)
        wheels.add("alpha", "1.0", requires=["beta"])
        wheels.add("beta", "2.0")
        self.write("main.py", "import alpha, beta\nprint(alpha.VERSION, beta.VERSION)\n")
        file = self.write("r.txt", wheels.options() + "--prefer-binary\nalpha\n")
        variables = {"PATH": tools + "/bin:/usr/local/bin:/usr/bin:/bin"}
        self.assertEqual(self.submit("--requirements", file, "main.py", environment=variables).text, "1.0 2.0\n")
        built = self.show()
        self.assertIn("--prefer-binary", "".join(built["notices"]))  # uv has no such option
        self.assertIn("(uv)", self.ok("logs", "--name", BUILD_LOG, built["runId"]).text)
        lock = self.ok("env", "show", "--json", built["environment"]["digest"]).text
        for part in ("alpha", "beta", "sha256:"):
            self.assertIn(part, lock)
        wait_until(lambda: not [name for name in os.listdir(self.home.data + "/envs")
                                if os.path.isdir("%s/envs/%s/scratch" % (self.home.data, name))], "all that is kept is kept")
        shutil.rmtree(wheels.path)
        shutil.rmtree(self.home.data + "/envs")
        self.assertEqual(self.submit("--requirements", file, "main.py", environment=variables).text, "1.0 2.0\n")
        self.assertEqual(self.show()["environment"]["lockDigest"], built["environment"]["lockDigest"])

    def test_what_an_existing_interpreter_has_is_recorded(self):
        self.submit_python("pass\n")
        environment = self.show()["environment"]
        self.assertEqual(environment["kind"], "interpreter")
        shown = self.ok("env", "show", "--json", environment["digest"]).text
        self.assertIn("scikit-learn", shown)  # Debian's, which the samples need


class BadInput(VenvTest):
    def test_bad_files_are_one_line_with_their_place(self):
        before = self.runs()
        self.write("bad.txt", "alpha\n--no-such-option x\n")
        self.assert_error(self.runner("submit", "--requirements", "bad.txt", "main.py"), 2, "bad.txt:2")
        self.write("editable.txt", "-e .\n")
        self.assert_error(self.runner("submit", "--requirements", "editable.txt", "main.py"), 2, "editable.txt:1")
        self.assert_error(self.runner("submit", "--requirements", "gone.txt", "main.py"), 3, "--requirements gone.txt")
        self.assert_error(self.runner("submit", "--requirements", "", "main.py"), 2, "--requirements ''")
        self.assert_error(self.runner("submit", "--requirements", ".", "main.py"), 2, "--requirements .: is a directory")
        os.mkfifo(self.project + "/pipe.txt")
        self.account.own(self.project + "/pipe.txt")
        for option in ("--requirements", "--conda", "--dockerfile"):
            self.assert_error(self.runner("submit", option, "pipe.txt", "main.py"), 2, "pipe.txt", "named pipe", hint=False)
        self.assert_no_new_run(before)

    def test_two_environments_at_once_are_refused(self):
        self.write("r.txt", "alpha\n")
        result = self.runner("submit", "--requirements", "r.txt", "--python", settings.PYTHON, "main.py")
        self.assert_error(result, 2, "at most one of --python, --requirements")

    def test_credentials_reach_neither_database_nor_log_nor_lock(self):
        # Outside of the project: a file of the snapshot is kept as it is.
        file = self.home.write(self.home.new_project() + "/r.txt",
                               "--index-url http://user:s3cr3tpass@127.0.0.1:9/simple?token=s3cr3tindex\nalpha\n"
                               "b @ git+http://s3cr3ttoken:x-oauth-basic@127.0.0.1:9/b.git\nc @ http://127.0.0.1:9/c.whl?sig=s3cr3tsas\n")
        conda = self.home.write(self.home.new_project() + "/e.yml",
                                "dependencies: ['http://alice:s3cr3tchan@127.0.0.1:9/c::x', 'http://127.0.0.1:9/t/s3cr3tpath/d::y',"
                                " \"z[channel='http://u:s3cr3tkey@127.0.0.1:9/e']\"]\n")
        self.assertNotIn("s3cr3t", self.submit("--conda", conda, "main.py", code=125).err)
        result = self.submit("--requirements", file, "main.py", code=125,
                             environment={"PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "2"})
        self.assertNotIn("s3cr3t", result.err + result.text)
        self.ok("daemon", "stop")
        for directory, _, names in os.walk(self.home.data):
            for name in names:
                path = os.path.join(directory, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as file:
                        self.assertFalse(b"s3cr3t" in file.read(), path)
