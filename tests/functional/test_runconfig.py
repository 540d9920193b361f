"""`-c NAME`: where it is found, what it says, and that flags win over it."""
import json

from support import settings
from support.case import RunnerTest


class Runconfig(RunnerTest):
    SHOW = "import json, os, sys\nprint(json.dumps([os.path.basename(sys.argv[0]), sys.argv[1:], os.environ.get('WHERE'), sys.executable]))\n"
    CONFIG = """\
        script: main.py
        arguments: [--alpha, 0.5, two words]
        maxRunDurationSeconds: 77
        environment:
          environmentVariables:
            WHERE: config
          python:
            userManagedDependencies: true
            interpreterPath: /usr/bin/python3
        """

    def setUp(self):
        super().setUp()
        self.write("main.py", self.SHOW)
        self.write("other.py", self.SHOW)
        self.write(".runner/job.runconfig", self.CONFIG)

    def test_everything_it_names_is_used(self):
        result = self.submit("-c", "job")
        self.assertEqual(json.loads(result.text), ["main.py", ["--alpha", "0.5", "two words"], "config", settings.PYTHON])
        definition = self.show()["runDefinition"]
        self.assertEqual((definition["config"], definition["maxRunDurationSeconds"], definition["environmentVariables"]),
                         ("job", 77, {"WHERE": "config"}))

    def test_flags_win(self):
        result = self.submit("-c", "job", "--max-run-duration", "5m", "-E", "WHERE=flag", "other.py", "--beta")
        self.assertEqual(json.loads(result.text)[:3], ["other.py", ["--beta"], "flag"])
        self.assertEqual(self.show()["runDefinition"]["maxRunDurationSeconds"], 300)

    def test_the_same_script_without_arguments_takes_those_of_the_file(self):
        result = self.submit("-c", "job", "main.py")
        self.assertEqual(json.loads(result.text)[1], ["--alpha", "0.5", "two words"])

    def test_the_azure_folder_and_paths_are_searched_too(self):
        self.write(".azureml/cloud.runconfig", "script: other.py\n")
        self.write("elsewhere/x.yml", "script: other.py\n")
        for name in ("cloud", "elsewhere/x.yml"):
            with self.subTest(name):
                self.assertEqual(json.loads(self.submit("-c", name).text)[0], "other.py")

    def test_our_folder_comes_before_azures(self):
        self.write(".azureml/job.runconfig", "script: other.py\n")
        self.assertEqual(json.loads(self.submit("-c", "job").text)[0], "main.py")

    def test_an_unknown_key_is_a_warning_and_a_notice(self):
        self.write(".runner/odd.runconfig", "script: main.py\nscirpt: x\n")
        result = self.submit("-c", "odd")
        self.assertIn("scirpt", result.err)
        self.assertTrue(any("scirpt" in notice for notice in self.show()["notices"]))

    def test_a_file_that_does_not_parse_or_asks_for_the_impossible_is_refused_naming_the_line(self):
        before = self.runs()
        for text, part in (("script: [\n", "bad.runconfig"), ("script: main.py\ntarget: my-cluster\n", "target"), ("script: main.py\nmaxRunDurationSeconds: soon\n", "maxRunDurationSeconds")):
            with self.subTest(text):
                self.write(".runner/bad.runconfig", text)
                result = self.runner("submit", "-c", "bad")
                self.assertEqual(result.code, 2, result.describe())
                self.assertTrue(result.error_lines[0].startswith("runner: error: "), result.describe())
                self.assertIn(part, result.error_lines[0])
        self.assert_no_new_run(before)
