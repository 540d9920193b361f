"""Conda environments: built by py-rattler from a channel that is made here, with a Python that is this machine's, and run in the
sandbox. What the client itself does is in tests/unit/envs."""
import os
import shutil
import textwrap
import unittest
import zipfile

from support import conda_channel, settings
from support.case import RunnerTest

# How this machine reaches a package index, if it does.
INDEX_VARIABLES = {name: value for name, value in os.environ.items()
                   if name.startswith(("PIP_", "SSL_CERT_", "REQUESTS_CA")) or name.lower() in ("http_proxy", "https_proxy", "no_proxy")}
BUILD_LIMIT = 300.0  # seconds: py-rattler is fetched in the first build


class CondaTest(RunnerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.channel_directory = cls.home.base + "/channel"
        cls.channel = conda_channel.make(cls.channel_directory)
        for directory, _, names in os.walk(cls.channel_directory):
            for path in [directory] + [os.path.join(directory, name) for name in names]:
                cls.home.account.own(path)

    def environment_file(self, dependencies, channels=None, name="environment.yml", more=""):
        lines = "".join("- %s\n" % one for one in dependencies)
        where = "".join("- %s\n" % one for one in ([self.channel] if channels is None else channels))
        self.write(name, ("channels:\n%s" % where if where else "") + "dependencies:\n" + lines + textwrap.dedent(more))

    def submit_conda(self, code, *options, exit_code=0, environment=None, **more):
        variables = dict(INDEX_VARIABLES, **(environment or {}))
        result = self.submit_python(code, "--conda", "environment.yml", *options, exit_code=exit_code, environment=variables, timeout=BUILD_LIMIT, **more)
        return result

    def build_log(self, run="@last"):
        return self.ok("logs", run, "--name", "system_logs/environment_build.log").text

    def failed(self, *parts):
        run = self.show()
        self.assertEqual((run["status"], run["outcome"]["kind"]), ("Failed", "environment_failed"), run)
        for part in parts:
            self.assertIn(part, run["error"]["message"])
        return run

    def first_build(self):
        """Whether a conda client can be had here; the first build says so."""
        self.environment_file(["words"])
        variables = dict(INDEX_VARIABLES)
        self.write("main.py", "print('ready')\n")
        result = self.runner("submit", "--conda", "environment.yml", "main.py", environment=variables, timeout=BUILD_LIMIT)
        if result.code != 0 and "no conda client" in str(self.show()["outcome"].get("message", "")):
            raise unittest.SkipTest(self.show()["outcome"]["message"])
        self.assertEqual(result.code, 0, result.describe())

    def setUp(self):
        super().setUp()
        if not getattr(type(self), "has_client", False):
            self.first_build()
            type(self).has_client = True


class Building(CondaTest):
    def test_a_script_runs_with_the_packages_and_the_python_of_the_environment(self):
        self.environment_file(["python", "greeting=1.0", "words=1.1"])  # of no other test: it is built here
        result = self.submit_conda("import sys, greeting\nprint(sys.prefix)\ngreeting.main()\n")
        prefix, said = result.text.splitlines()
        self.assertEqual(said, "hello world")
        self.assertTrue(prefix.startswith(self.home.data + "/"), prefix)
        environment = self.show()["environment"]
        self.assertEqual(environment["kind"], "conda")
        self.assertIn("linking greeting", self.build_log())

    def test_the_second_run_builds_nothing(self):
        self.environment_file(["python", "words=1.0"])
        first = self.submit_conda("import sys\nprint(sys.prefix)\n")
        self.environment_file(["words =1.0", "python"], more="name: another\nprefix: /somewhere\n")
        second = self.submit_conda("import sys\nprint(sys.prefix)\n")
        self.assertEqual(first.text, second.text)
        self.assertNotIn("linking", second.err)

    def test_a_pip_list_is_installed_inside(self):
        wheels = self.project + "/wheels"
        os.mkdir(wheels)
        with zipfile.ZipFile(wheels + "/wheeled-1.5-py3-none-any.whl", "w") as wheel:
            info = "wheeled-1.5.dist-info/"
            wheel.writestr("wheeled.py", "import words\nFIRST = words.WORDS[0]\n")
            wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: wheeled\nVersion: 1.5\n")
            wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(info + "RECORD", "".join("%s,,\n" % name for name in ("wheeled.py", info + "METADATA", info + "WHEEL", info + "RECORD")))
        self.environment_file(["words"], more="- pip:\n  - --no-index\n  - --find-links=%s\n  - wheeled\n" % wheels)
        self.assertEqual(self.submit_conda("import wheeled\nprint(wheeled.FIRST)\n").text, "hello\n")

    def test_a_runconfig_names_the_file_or_holds_the_environment(self):
        self.environment_file(["python", "greeting=1.0"])
        self.write("main.py", "import greeting\ngreeting.main()\n")
        self.write(".runner/file.runconfig", "script: main.py\nenvironment: {python: {condaDependenciesFile: environment.yml}}\n")
        self.write(".runner/inline.runconfig", "script: main.py\nenvironment:\n  python:\n    condaDependencies:\n      channels: [%s]\n"
                                               "      dependencies: [greeting=1.0, python]\n" % self.channel)
        digests = set()
        for name in ("file", "inline"):
            result = self.submit("-c", name, environment=INDEX_VARIABLES, timeout=BUILD_LIMIT)
            self.assertIn("hello world\n", result.text)
            digests.add(self.show()["environment"]["digest"])
        self.assertEqual(len(digests), 1)

    def test_programs_of_the_environment_are_on_path_and_know_where_they_are(self):
        self.environment_file(["python", "banner", "greeting=1.0"])
        result = self.submit_conda("import os, sys\nos.system('banner; greet')\nprint(sys.prefix)\n")
        lines = sorted(result.text.splitlines())
        prefix = [line for line in lines if line.startswith("/")][0]
        self.assertEqual(lines, sorted([prefix, "banner of " + prefix, "hello world"]))

    def test_programs_without_a_python_are_on_path_too(self):
        self.environment_file(["banner"])
        self.write("main.sh", "banner\n")
        result = self.submit("--conda", "environment.yml", "main.sh", environment=INDEX_VARIABLES, timeout=BUILD_LIMIT)
        self.assertIn("banner of " + self.home.data + "/envs/", result.text)

    def test_what_activation_sets_is_set_and_the_file_s_variables_too(self):
        self.environment_file(["python", "activated"], more="variables:\n  THREADS: 4\n")
        facts = self.submit_conda("import os\nfor n in ('BANNER_HOME', 'FROM_JSON', 'GREETING', 'THREADS'): print(repr(os.environ.get(n)))\n").text.splitlines()
        self.assertTrue(facts[0].endswith("/share/banner'"), facts)
        self.assertEqual(facts[1:], ["'yes'", repr("two\nlines"), "'4'"])

    def test_a_rerun_uses_the_lock_though_the_channel_has_something_newer(self):
        self.environment_file(["python", "greeting"], channels=[self.older_channel()])
        self.assertEqual(self.submit_conda("import greeting\ngreeting.main()\n").text, "hello world\n")
        run = self.show()["runId"]
        conda_channel.make(self.older, only={"python", "words", "greeting"})
        shutil.rmtree(self.home.data + "/envs", ignore_errors=True)  # as when it was evicted
        result = self.ok("run", "rerun", run, environment=INDEX_VARIABLES, timeout=BUILD_LIMIT)
        self.assertIn("hello world\n", result.text)

    def older_channel(self):
        self.older = self.home.new_project()
        url = conda_channel.make(self.older, only={"python", "words", "greeting"}, without={("greeting", "2.0")})
        for directory, _, names in os.walk(self.older):
            for path in [directory] + [os.path.join(directory, name) for name in names]:
                self.home.account.own(path)
        return url


class Failing(CondaTest):
    def test_what_cannot_be_solved_is_explained_and_not_cached(self):
        self.environment_file(["python", "clash", "greeting=2.0"])
        for _ in range(2):
            self.submit_conda("print('never')\n", exit_code=125)
            run = self.failed("cannot be had together", "clash", "greeting 1.*")
        self.assertIn("system_logs/environment_build.log", run["logFiles"])
        self.assertNotIn("Traceback", self.build_log())

    def test_a_package_that_does_not_exist_is_named(self):
        self.environment_file(["python", "no-such-package"])
        self.submit_conda("print('never')\n", exit_code=125)
        self.failed("no-such-package")

    def test_a_package_that_is_not_what_the_index_says_is_refused(self):
        self.environment_file(["python", "tampered"])
        self.submit_conda("print('never')\n", exit_code=125)
        self.failed("tampered 1.0", "sha256")

    def test_a_channel_that_is_not_there_is_named(self):
        self.environment_file(["python"], channels=["file:///nowhere/channel"])
        self.submit_conda("print('never')\n", exit_code=125)
        self.failed("/nowhere/channel")

    def test_a_malformed_file_is_refused_with_line_and_column_before_there_is_a_run(self):
        self.submit_python("print('something')\n")
        before = self.runs()
        self.write("environment.yml", "dependencies:\n  - a\n - b\n")
        self.assert_error(self.submit_conda("print('never')\n", exit_code=2), 2, "environment.yml:3:2: not YAML", hint=False)
        self.assert_no_new_run(before)

    def test_an_unknown_key_is_warned_of(self):
        self.environment_file(["python", "words"], more="chanels: [a]\n")
        result = self.submit_conda("print('ran')\n")
        self.assertIn("unknown key 'chanels', did you mean 'channels'?", result.err)
        self.assertEqual(result.text, "ran\n")

    def test_a_file_that_is_not_there_is_an_error(self):
        self.assert_error(self.submit_conda("print('never')\n", exit_code=3), 3, "--conda environment.yml: there is no ")


class Clients(RunnerTest):
    fresh_home = True

    def test_a_configured_client_that_does_not_start_names_the_configuration(self):
        self.home.configure('conda = "/nowhere/micromamba"\n')
        self.write("environment.yml", "dependencies: [python]\n")
        self.submit_python("print('never')\n", "--conda", "environment.yml", exit_code=125)
        self.assertIn('config.toml: conda = "/nowhere/micromamba": no such file', self.show()["outcome"]["message"])

    def test_without_a_client_and_without_an_index_the_error_says_what_to_do(self):
        self.write("environment.yml", "dependencies: [python]\n")
        self.submit_python("print('never')\n", "--conda", "environment.yml", exit_code=125, environment={"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/nowhere"}, timeout=BUILD_LIMIT)
        self.assertIn("no conda client", self.show()["outcome"]["message"])


if __name__ == "__main__":
    unittest.main()
