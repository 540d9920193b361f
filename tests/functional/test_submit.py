"""`runner submit`: exit codes, arguments, kinds of scripts, --detach, and what `show --json` says afterwards."""
import hashlib
import json
import os
import re
import unittest

from support import settings
from support.case import RUN_ID, RunnerTest

TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"
DIGEST = r"^[0-9a-f]{64}$"


class ExitCodes(RunnerTest):
    def test_a_script_that_succeeds_gives_exit_code_zero(self):
        self.submit_python("pass\n")
        run = self.show()
        self.assertEqual((run["status"], run["outcome"]["kind"], run["outcome"]["exitCode"]), ("Completed", "exited", 0))
        self.assertIsNone(run["error"])

    def test_a_script_that_fails_passes_its_own_exit_code_through(self):
        self.submit_python("raise SystemExit(3)\n", exit_code=3)
        run = self.show()
        self.assertEqual((run["status"], run["outcome"]["kind"], run["outcome"]["exitCode"]), ("Failed", "exited", 3))
        self.assertIsInstance(run["error"]["message"], str)
        self.ok("wait", run["runId"], code=3)

    def test_exit_code_255_is_not_changed(self):
        self.submit_python("raise SystemExit(255)\n", exit_code=255)

    def test_a_traceback_is_in_the_log_and_exit_code_is_one(self):
        result = self.submit_python("1 / 0\n", exit_code=1)
        self.assertIn(b"ZeroDivisionError", result.out)

    def test_a_script_that_dies_of_a_signal_gives_128_plus_its_number(self):
        self.submit_python("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", exit_code=139)
        outcome = self.show()["outcome"]
        self.assertEqual((outcome["kind"], outcome["signal"]), ("signaled", 11))

    def test_a_script_that_kills_itself_gives_137_without_claiming_memory(self):
        self.submit_python("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", exit_code=137)
        self.assertEqual(self.show()["outcome"]["kind"], "signaled")

    def test_a_command_that_does_not_exist_ends_start_failed_with_125(self):
        self.submit("--command", "no-such-program-here", "x", code=125)
        run = self.show()
        self.assertEqual((run["status"], run["outcome"]["kind"]), ("Failed", "start_failed"))
        self.assertIn("no-such-program-here", run["outcome"]["message"])


class Output(RunnerTest):
    def test_what_the_script_prints_is_all_there_is_on_standard_output(self):
        result = self.submit_python("print('hello')\n")
        self.assertEqual(result.out, b"hello\n", result.describe())

    def test_standard_error_of_the_script_is_in_the_log_too(self):
        result = self.submit_python("import sys\nsys.stderr.write('to stderr\\n')\n")
        self.assertIn(b"to stderr\n", result.out)
        self.assertEqual(self.log(), b"to stderr\n")

    def test_a_last_line_without_a_newline_stays_without_one(self):
        self.submit_python("import sys\nsys.stdout.write('no end')\n")
        self.assertEqual(self.log(), b"no end")


class Arguments(RunnerTest):
    ECHO = "import json, sys\nprint(json.dumps(sys.argv[1:]))\n"

    def test_arguments_arrive_exactly_as_they_were_typed(self):
        given = ["with space", "ünï çødé 漢", "", "-x", "--detach", "--json", "--home=/x", "a=b", "*", "$HOME", "'q'", '"', "\\", "new\nline",
                 "--", "-"]
        result = self.submit_python(self.ECHO, arguments=given)
        self.assertEqual(json.loads(result.text), given)
        self.assertEqual(self.show()["runDefinition"]["arguments"], given)

    def test_double_dash_ends_the_options(self):
        self.write("main.py", self.ECHO)
        self.assertEqual(json.loads(self.submit("--", "main.py", "--tag", "x").text), ["--tag", "x"])

    def test_argv_zero_is_the_script_as_it_was_named(self):
        self.write("src/deep.py", "import sys\nprint(sys.argv[0])\n")
        self.assertEqual(self.submit("src/deep.py").text, "src/deep.py\n")

    def test_an_argument_list_of_half_a_megabyte_arrives(self):
        given = ["%05d" % n * 20 for n in range(5000)]
        result = self.submit_python("import sys\nprint(len(sys.argv) - 1, len(''.join(sys.argv[1:])))\n", arguments=given)
        self.assertEqual(result.text, "5000 500000\n")


class Scripts(RunnerTest):
    def test_a_sh_file_runs_with_sh_without_being_executable(self):
        self.write("job.sh", "echo \"$0 $1\"; exit 4\n")
        self.assertEqual(self.submit("job.sh", "one", code=4).text, "job.sh one\n")

    def test_any_other_file_runs_by_its_first_line(self):
        self.write("job", "#!/usr/bin/env python3\nimport sys\nprint('py', sys.argv[1])\n")
        self.assertEqual(self.submit("job", "x").text, "py x\n")

    def test_the_first_line_may_carry_one_argument(self):
        self.write("job.txt", "#!/bin/sh -e\necho before\nfalse\necho after\n")
        self.assertEqual(self.submit("job.txt", code=1).text, "before\n")

    def test_a_python_script_in_a_folder_imports_its_neighbours_and_starts_in_the_source_directory(self):
        self.write("src/helper.py", "NAME = 'neighbour'\n")
        self.write("src/train.py", "import helper, os\nprint(helper.NAME, sorted(os.listdir('.')))\n")
        self.assertEqual(self.submit("src/train.py").text, "neighbour ['src']\n")

    def test_an_absolute_path_inside_the_source_directory_is_fine(self):
        path = self.write("main.py", "print('absolute')\n")
        self.assertEqual(self.submit(path).text, "absolute\n")

    def test_source_dir_names_the_directory_to_run(self):
        self.write("inner/main.py", "import os\nprint(os.listdir('.'))\n")
        self.assertEqual(self.submit("--source-dir", "inner", "main.py").text, "['main.py']\n")

    def test_one_command_argument_is_a_shell_line(self):
        self.assertEqual(self.submit("--command", "echo a && echo $((1 + 2)) | cat").text, "a\n3\n")

    def test_several_command_arguments_are_exactly_that_vector(self):
        result = self.submit("--command", "printf", "%s|", "a b", "", "$HOME", "*")
        self.assertEqual(result.text, "a b||$HOME|*|")
        self.assertEqual(self.show()["runDefinition"]["command"], ["printf", "%s|", "a b", "", "$HOME", "*"])

    def test_submit_script_is_the_same_under_the_azure_name(self):
        self.write("main.py", "print('azure')\n")
        self.assertEqual(self.ok("run", "submit-script", *self.isolation_options(), "-e", "exp-" + self.home.token, "main.py").text,
                         "azure\n")


class Detach(RunnerTest):
    def test_detach_prints_the_id_and_nothing_else(self):
        self.write("main.py", "pass\n")
        for option in ("--detach", "--async"):
            with self.subTest(option):
                result = self.submit(option, "main.py")
                self.assertRegex(result.text, r"^" + RUN_ID.pattern + r"\n$")
                self.assertEqual(result.err, "", result.describe())
                self.wait(result.text.strip())

    def test_the_id_is_made_of_experiment_time_and_eight_digits(self):
        run_id = self.detach_python("pass\n", "-e", "exp-" + self.home.token)
        self.assertRegex(run_id, r"^exp-%s_\d{10}_[0-9a-f]{8}$" % self.home.token)
        self.wait(run_id)

    def test_the_experiment_is_the_source_directory_made_legal(self):
        project = self.home.new_project("ünd my project %s" % self.home.token)
        self.home.write(project + "/main.py", "pass\n")
        run_id = self.submit("--detach", "main.py", directory=project).text.strip()
        self.assertRegex(self.wait(run_id)["experiment"], r"^[A-Za-z0-9][A-Za-z0-9_-]*my-project-%s$" % self.home.token)


class Document(RunnerTest):
    """One rich run; every test looks at another part of what is recorded."""

    KEYS = ("runId experiment name status statusReason createdTimeUtc startTimeUtc endTimeUtc durationSeconds attempt parentRunId "
            "snapshotId tags properties metrics outputs logFiles git environment isolation outcome error runDefinition").split()
    SCRIPT = """\
        import os, runner
        for step in range(3):
            runner.log("loss", 1.0 / (step + 1), step=step)
        runner.log("once", 7)
        runner.log("big", 2 ** 53 + 1)
        runner.log("nan", float("nan"))
        runner.log("inf", float("-inf"))
        runner.log("word", "good")
        os.makedirs("outputs/sub")
        os.makedirs("logs")
        open("outputs/model.bin", "wb").write(bytes(range(256)) * 10)
        open("outputs/sub/empty", "w").close()
        open("logs/table.csv", "w").write("a,b\\n1,2\\n")
        print("done")
        """

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.run_in = cls.home.new_project("doc-" + cls.home.token)
        case = cls()
        case.account, case.project = cls.home.account, cls.run_in
        case.write("train.py", cls.SCRIPT)
        case.write("tracked.txt", "x\n")
        for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "first"],
                        ["remote", "add", "origin", "https://user:secret-token@example.com/some/repo.git"]):
            case.git(*command)
        cls.commit = case.git("rev-parse", "HEAD")
        cls.result = case.submit("--name", "the display name", "--tag", "quality=good", "--tag", "flag", "--property", "fixed=yes",
                                 "--max-run-duration", "2m", "-E", "EXTRA=1", "train.py", "--alpha", "0.5")
        cls.document = case.show()

    def git(self, *arguments):
        result = self.home.call("git", "-c", "user.name=T", "-c", "user.email=t@example.com", *arguments, directory=self.project,
                                environment={"GIT_CONFIG_GLOBAL": "/dev/null"})
        self.assertEqual(result.code, 0, result.describe())
        return result.text.strip()

    def test_every_key_of_the_contract_is_there_with_its_type(self):
        run = self.document
        self.assertEqual([key for key in self.KEYS if key not in run], [])
        for key in ("runId", "experiment", "name", "status", "statusReason", "isolation", "snapshotId"):
            self.assertIsInstance(run[key], str, key)
        for key in ("createdTimeUtc", "startTimeUtc", "endTimeUtc"):
            self.assertRegex(run[key], TIME, key)
        self.assertLessEqual(run["createdTimeUtc"], run["startTimeUtc"])
        self.assertLess(run["startTimeUtc"], run["endTimeUtc"])
        self.assertIsInstance(run["durationSeconds"], float)
        self.assertGreater(run["durationSeconds"], 0)
        self.assertEqual(run["attempt"], 1)
        self.assertIsNone(run["parentRunId"])
        self.assertRegex(run["snapshotId"], DIGEST)
        self.assertEqual(run["name"], "the display name")
        self.assertEqual(run["experiment"], "doc-" + self.home.token)
        self.assertEqual(run["isolation"], settings.ISOLATION)

    def test_tags_and_properties_are_objects_and_a_tag_without_value_is_null(self):
        self.assertEqual(self.document["tags"], {"quality": "good", "flag": None})
        self.assertEqual(self.document["properties"]["fixed"], "yes")

    def test_the_outcome_tells_kind_code_memory_and_cpu_time(self):
        outcome = self.document["outcome"]
        self.assertEqual(sorted(outcome), sorted(["kind", "exitCode", "signal", "peakMemoryBytes", "meanMemoryBytes", "cpuSeconds",
                                                  "peakCpus", "meanCpus", "readBytes", "writtenBytes", "message"]))
        self.assertEqual((outcome["kind"], outcome["exitCode"], outcome["signal"]), ("exited", 0, None))
        self.assertGreater(outcome["peakMemoryBytes"], 1 << 20)
        self.assertGreater(outcome["cpuSeconds"], 0)
        self.assertLess(outcome["cpuSeconds"], 60)

    def test_git_state_is_recorded_as_azure_and_mlflow_properties_without_credentials(self):
        properties = self.document["properties"]
        for key, value in {"azureml.git.repository_uri": "https://example.com/some/repo.git", "azureml.git.branch": "main",
                           "azureml.git.commit": self.commit, "azureml.git.dirty": "False",
                           "mlflow.source.git.repoURL": "https://example.com/some/repo.git", "mlflow.source.git.branch": "main",
                           "mlflow.source.git.commit": self.commit}.items():
            self.assertEqual(properties.get(key), value, key)
        self.assertEqual(self.document["git"], {"commit": self.commit, "branch": "main", "dirty": False,
                                                "remote": "https://example.com/some/repo.git",
                                                "patch": None, "untrackedFiles": None})
        self.assertNotIn("secret-token", json.dumps(self.document))

    def test_the_environment_names_kind_and_digest(self):
        environment = self.document["environment"]
        for key in ("name", "version", "kind", "digest", "lockDigest"):
            self.assertIn(key, environment)
        self.assertEqual(environment["kind"], "image" if settings.ISOLATION == "docker" else "interpreter")
        self.assertRegex(environment["digest"], DIGEST)

    def test_a_metric_logged_once_is_a_scalar_and_more_often_a_list(self):
        metrics = self.document["metrics"]
        self.assertEqual(metrics["loss"], [1.0, 0.5, 1.0 / 3])
        self.assertEqual(metrics["once"], 7)
        self.assertIs(type(metrics["once"]), int)
        self.assertEqual(metrics["word"], "good")

    def test_integers_beyond_doubles_and_numbers_that_are_none_survive(self):
        metrics = self.document["metrics"]
        self.assertEqual(metrics["big"], 2 ** 53 + 1)
        self.assertEqual((metrics["nan"], metrics["inf"]), ("NaN", "-Infinity"))

    def test_outputs_have_name_size_and_sha256(self):
        content = bytes(range(256)) * 10
        self.assertEqual(sorted(self.document["outputs"], key=lambda o: o["name"]), [
            {"name": "outputs/model.bin", "bytes": 2560, "sha256": hashlib.sha256(content).hexdigest()},
            {"name": "outputs/sub/empty", "bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}])

    def test_log_files_are_the_standard_log_and_what_lies_in_logs(self):
        self.assertEqual(self.log_files(self.document), ["logs/table.csv", "user_logs/std_log.txt"])

    def test_the_definition_says_what_was_asked_for(self):
        definition = self.document["runDefinition"]
        self.assertEqual((definition["script"], definition["arguments"], definition["maxRunDurationSeconds"]),
                         ("train.py", ["--alpha", "0.5"], 120))
        self.assertEqual(definition["environmentVariables"], {"EXTRA": "1"})
        self.assertEqual(definition["sourceDirectory"], self.run_in)

    def test_a_list_item_has_the_same_keys_without_files_and_with_last_metric_values(self):
        items = self.ok("run", "list", "--json").json
        self.assertIsNone(items["nextToken"])
        item = next(run for run in items["items"] if run["runId"] == self.document["runId"])
        self.assertEqual([key for key in self.KEYS if key not in item], ["outputs", "logFiles"])
        self.assertEqual(item["metrics"]["loss"], 1.0 / 3)

    def test_metrics_lists_summaries_and_every_point_by_name(self):
        rows = {row["name"]: row for row in self.ok("run", "metrics", self.document["runId"], "--json").json["items"]}
        loss = rows["loss"]
        self.assertEqual((loss["count"], loss["last"], loss["min"], loss["max"]), (3, 1.0 / 3, 1.0 / 3, 1.0))
        self.assertIn("type", loss)
        points = self.ok("run", "metrics", self.document["runId"], "--name", "loss", "--json").json["items"]
        self.assertEqual([(p["step"], p["value"]) for p in points], [(0, 1.0), (1, 0.5), (2, 1.0 / 3)])
        self.assertTrue(all(re.match(TIME, p["timeUtc"]) for p in points))

    def test_show_for_people_names_status_metrics_outputs_and_commit(self):
        text = self.ok("run", "show", self.document["runId"]).text
        for part in (self.document["runId"], "Completed", "loss", "outputs/model.bin", self.commit[:7]):
            self.assertIn(part, text)


class GitStates(RunnerTest):
    git = Document.git

    def properties(self):
        self.write("main.py", "pass\n")
        self.submit("main.py")
        run = self.show()
        return {k: v for k, v in run["properties"].items() if k.startswith(("azureml.git.", "mlflow.source.git."))}, run["git"]

    def test_without_a_repository_git_is_null_and_no_property_is_made(self):
        self.assertEqual(self.properties(), ({}, None))

    def test_an_untracked_file_makes_the_state_dirty(self):
        self.git("init", "-q", "-b", "main")
        self.git("commit", "-q", "--allow-empty", "-m", "empty")
        properties, git = self.properties()
        self.assertEqual(properties["azureml.git.dirty"], "True")
        self.assertIs(git["dirty"], True)
        self.assertNotIn("azureml.git.repository_uri", properties)

    def test_a_detached_head_has_a_commit_and_no_branch(self):
        self.git("init", "-q", "-b", "main")
        self.git("commit", "-q", "--allow-empty", "-m", "empty")
        self.git("checkout", "-q", "--detach")
        properties, git = self.properties()
        self.assertEqual(properties["azureml.git.commit"], self.git("rev-parse", "HEAD"))
        self.assertNotIn("azureml.git.branch", properties)
        self.assertIsNone(git["branch"])

    def test_an_unborn_branch_has_no_commit(self):
        self.git("init", "-q", "-b", "fresh")
        properties, git = self.properties()
        self.assertNotIn("azureml.git.commit", properties)
        self.assertIsNone(git["commit"])


if __name__ == "__main__":
    unittest.main()
