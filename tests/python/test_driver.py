"""Drivers and notebooks over the control socket: submitting, environments, lists, starting the daemon."""

import os
import subprocess
import sys
import time
import unittest

from driver import DriverCase, PROLOGUE
from support import document_of, lines_matching


class Submit(DriverCase):
    def test_a_submission_has_the_api_s_shape(self):
        document = self.submitted(
            """
            config = ScriptRunConfig("src", "train.py", ["--lr", 0.1, "--n", 3], environment_variables={"A": 1},
                                     max_run_duration_seconds=90, memory="1g", cpus=2, network="off", mounts=["/data:/data:ro"],
                                     isolation="sandbox", priority=5, shm_size="64m")
            run = Experiment("diabetes").submit(config, tags={"sweep": None, "n": 1}, properties={"p": 2}, display_name="first")
            equal((run.id, run.experiment, run.type), ("new", Experiment("diabetes"), "script"))
            """,
            LC_TIME="C",
            TOTALLY_PRIVATE="x",
        )
        self.assertEqual(
            document,
            {
                "script": "train.py",
                "arguments": ["--lr", "0.1", "--n", "3"],
                "sourceDirectory": os.path.join(self.directory, "src"),
                "sourceDirectoryExplicit": True,
                "experiment": "diabetes",
                "name": "first",
                "tags": {"sweep": None, "n": "1"},
                "properties": {"p": "2"},
                "python": sys.executable,
                "maxRunDuration": 90,
                "memory": "1g",
                "cpus": 2,
                "network": "off",
                "mounts": ["/data:/data:ro"],
                "isolation": "sandbox",
                "priority": 5,
                "shmSize": "64m",
                "environmentVariables": {"A": "1"},
            },
        )
        self.assertEqual(self.caller["directory"], self.directory)
        self.assertEqual(self.caller["variables"]["LC_TIME"], "C")
        self.assertIn("PATH", self.caller["variables"])
        self.assertNotIn("TOTALLY_PRIVATE", self.caller["variables"])
        self.assertEqual(self.daemon.asked[-1].query, [("notices", "1")])

    def test_every_field_that_is_sent_is_one_of_the_api_s(self):
        import json

        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "openapi.json")) as stream:
            known = json.load(stream)["components"]["schemas"]["Submission"]["properties"]
        from runner_sdk._config import _OPTIONS

        self.assertEqual([field for field in _OPTIONS.values() if field not in known], [])

    def test_azure_mls_argument_forms(self):
        forms = [
            'ScriptRunConfig("src", "train.py", ["--a", 1])',
            'ScriptRunConfig(source_directory="src", script="train.py", arguments=["--a", 1])',
            'ScriptRunConfig("src", "train.py", "--a 1")',
            'ScriptRunConfig("src", "train.py", ("--a", 1), None, None, "local", None, None, None, None, None, None)',
            'ScriptRunConfig("src", script="train.py", arguments=["--a", 1], compute_target="local")',
        ]
        for form in forms:
            with self.subTest(form):
                document = self.submitted("Experiment('e').submit({})".format(form))
                self.assertEqual((document["script"], document["arguments"]), ("train.py", ["--a", "1"]))

    def test_commands(self):
        for command, wanted in [
            ('"python train.py && echo done"', ["sh", "-c", "python train.py && echo done"]),
            ('["python", "train.py", 0.5]', ["python", "train.py", "0.5"]),
            ('["one line for sh"]', ["sh", "-c", "one line for sh"]),
        ]:
            document = self.submitted("Experiment('e').submit(ScriptRunConfig('src', command={}))".format(command))
            self.assertEqual(document["command"], wanted)
            self.assertNotIn("script", document)

    def test_environments_become_fields_of_the_submission(self):
        self.write("req.txt", "numpy\n--extra-index-url https://${TOKEN}@host/simple\n")
        self.write("env.yml", "dependencies: []")
        self.write("Dockerfile", "FROM x")
        here = self.directory
        for environment, wanted in [
            ("Environment.from_pip_requirements('e', 'req.txt')", {"requirements": here + "/req.txt"}),
            ("Environment.from_conda_specification(name='e', file_path='env.yml')", {"conda": here + "/env.yml"}),
            ("Environment.from_docker_image('e', 'python:3.11')", {"image": "python:3.11"}),
            (
                "Environment.from_docker_image('e', 'i', conda_specification='env.yml')",
                {"image": "i", "conda": here + "/env.yml"},
            ),
            (
                "Environment.from_dockerfile('e', './Dockerfile', build_arguments={'V': 1})",
                {"dockerfile": here + "/Dockerfile", "buildArguments": {"V": "1"}},
            ),
            ("Environment.from_existing_interpreter('e', '/usr/bin/python3')", {"python": "/usr/bin/python3"}),
            ("Environment.from_existing_interpreter('e')", {"python": sys.executable}),
            ("'training:2'", {"environment": "training:2"}),
            ("Environment('training')", {"environment": "training"}),
        ]:
            with self.subTest(environment):
                document = self.submitted(
                    "Experiment('e').submit(ScriptRunConfig('src', 'train.py', environment={}))".format(environment),
                    TOKEN="from the caller",
                )
                fields = ("python", "requirements", "conda", "image", "dockerfile", "buildArguments", "environment")
                self.assertEqual({name: document[name] for name in fields if name in document}, wanted)
                variables = self.caller["variables"]
                self.assertEqual(variables.get("TOKEN"), "from the caller" if "requirements" in wanted else None)

    def test_a_dockerfile_as_text_is_a_file_while_the_daemon_reads_it(self):
        seen = []

        def submitted(asked):
            with open(asked.document["dockerfile"]) as stream:
                seen.append((asked.document["dockerfile"], stream.read()))
            return 201, document_of("new")

        self.routes["POST /v1/runs"] = submitted
        self.drive(
            """
            environment = Environment.from_dockerfile("e", "FROM x\\nRUN y\\n")
            environment.environment_variables["B"] = 2
            Experiment("e").submit(ScriptRunConfig("src", "train.py", environment=environment, environment_variables={"A": 1}))
            """
        )
        ((file, text),) = seen
        self.assertEqual(text, "FROM x\nRUN y\n")
        self.assertFalse(os.path.exists(file))
        self.assertEqual(self.daemon.asked[-1].document["environmentVariables"], {"A": "1", "B": "2"})

    def test_a_runconfig_decides_what_is_not_said(self):
        document = self.submitted(
            "Experiment('e').submit(ScriptRunConfig(run_config='gpu', secrets=['KEY', 'OTHER']))", KEY="hush"
        )
        self.assertEqual((document["config"], document["sourceDirectoryExplicit"]), ("gpu", False))
        self.assertNotIn("python", document)
        self.assertEqual((document["secrets"], self.caller["secrets"]), (["KEY", "OTHER"], {"KEY": "hush"}))

    def test_warnings_of_the_daemon_are_told(self):
        self.routes["POST /v1/runs"] = (201, document_of("new", notices=["data/ has 4 GB"]))
        done = self.drive("Experiment('e').submit(ScriptRunConfig('src', 'train.py'))")
        self.assertEqual(lines_matching("warning", done.stderr_text), ["runner: warning: data/ has 4 GB"])

    def test_a_submission_whose_answer_is_lost_is_one_run(self):
        def dies_first(asked):
            if len(self.daemon.asked) == 1:
                asked.handler.connection.shutdown(2)
                asked.handler.close_connection = True
                return None
            return 200, document_of("new")

        self.routes["POST /v1/runs"] = dies_first
        self.drive("equal(Experiment('e').submit(ScriptRunConfig('src', 'train.py')).id, 'new')")
        first, again = self.daemon.asked
        self.assertEqual(first.document["idempotencyKey"], again.document["idempotencyKey"])

    def test_what_is_wrong_with_a_configuration_names_the_argument(self):
        self.write("file.txt", "x")
        self.drive(
            """
            C = ScriptRunConfig
            for error, words, call in [
                (runner.NotFound, "source_directory: there is no directory", lambda: C("missing", "x.py")),
                (TypeError, "source_directory must be a path, not int", lambda: C(5, "x.py")),
                (runner.Invalid, "neither script nor command", lambda: C("src")),
                (runner.Invalid, "command together with script", lambda: C("src", "x.py", command="y")),
                (runner.Invalid, "command is empty", lambda: C("src", command=[])),
                (TypeError, "arguments must be a list, not dict", lambda: C("src", "x.py", {"a": 1})),
                (TypeError, "arguments[1] must be a text or a number, not NoneType", lambda: C("src", "x.py", ["a", None])),
                (runner.Invalid, "arguments: No closing quotation", lambda: C("src", "x.py", "'a")),
                (runner.Invalid, "compute_target: 'gpu-cluster' is not this machine", lambda: C("src", "x.py", compute_target="gpu-cluster")),
                (runner.Invalid, "distributed_job_config", lambda: C("src", "x.py", distributed_job_config=object())),
                (runner.Invalid, "docker_runtime_config", lambda: C("src", "x.py", docker_runtime_config=object())),
                (runner.Invalid, "resume_from", lambda: C("src", "x.py", resume_from="p")),
                (TypeError, "run_config must be the name of a runconfig file, not dict", lambda: C("src", run_config={})),
                (TypeError, "environment must be an Environment or a name, not int", lambda: C("src", "x.py", environment=5)),
                (TypeError, "max_run_duration_seconds must be a number of seconds, not str", lambda: C("src", "x.py", max_run_duration_seconds="1h")),
                (runner.Invalid, "max_run_duration_seconds is -1", lambda: C("src", "x.py", max_run_duration_seconds=-1)),
                (TypeError, "there is no argument 'memroy'", lambda: C("src", "x.py", memroy="1g")),
                (TypeError, "environment_variables['A'] is None", lambda: C("src", "x.py", environment_variables={"A": None})),
                (runner.NotFound, "from_conda_specification: file_path: there is no file", lambda: Environment.from_conda_specification("e", "no.yml")),
                (runner.Invalid, "is a directory", lambda: Environment.from_pip_requirements("e", "src")),
                (runner.Invalid, "pip_version", lambda: Environment.from_pip_requirements("e", "file.txt", "20.0")),
                (TypeError, "image must be a text", lambda: Environment.from_docker_image("e", None)),
                (runner.Invalid, "container_registry", lambda: Environment.from_docker_image("e", "i", container_registry="r")),
                (runner.Invalid, "pip_requirements in an image", lambda: Environment.from_docker_image("e", "i", pip_requirements="file.txt")),
                (runner.Invalid, "conda_specification in an image of a Dockerfile", lambda: Environment.from_dockerfile("e", "FROM x\\n", conda_specification="file.txt")),
                (TypeError, "Experiment: name must be a text, not int", lambda: Experiment(5)),
                (runner.Invalid, "Experiment: name is empty", lambda: Experiment("")),
                (TypeError, "submit: config must be a ScriptRunConfig, not str", lambda: Experiment("e").submit("train.py")),
                (TypeError, "Run: run_id must be a text", lambda: Run(Experiment("e"), None)),
                (runner.Invalid, "start_logging(outputs=", lambda: Run(Experiment("e"), "x", outputs="d")),
            ]:
                refused(error, words, call)
            config = C("src", "x.py"); config.arguments = 5
            refused(TypeError, "arguments must be a list, not int", lambda: Experiment("e").submit(config))
            """
        )
        self.assertEqual(self.daemon.asked, [])


class Environments(DriverCase):
    def test_an_environment_is_registered_and_found(self):
        self.write("req.txt", "numpy")
        self.routes["POST /v1/environments"] = (201, {"name": "e", "version": "3", "warnings": ["old pip"]})
        self.routes["GET /v1/environments/*"] = {"name": "e", "version": "7"}
        done = self.drive(
            """
            made = Environment.from_pip_requirements("e", "req.txt").register()
            equal((made.name, made.version, made.submission_parts()), ("e", "3", {"environment": "e:3"}))
            equal(Environment.get("e").version, "7")
            equal(Environment.get("e", 7).submission_parts(), {"environment": "e:7"})
            refused(runner.Invalid, "is registered already, or nothing", lambda: made.register())
            """
        )
        document = self.daemon.asked[0].document
        self.assertEqual((document["name"], document["requirements"]), ("e", self.directory + "/req.txt"))
        self.assertEqual([asked.segments[-1] for asked in self.daemon.asked[1:]], ["e", "e:7"])
        self.assertIn("runner: warning: old pip", done.stderr_text)


class Lists(DriverCase):
    def test_runs_of_an_experiment_page_by_page_with_their_filters(self):
        pages = {None: (["c", "b"], "9"), "9": (["a"], None)}

        def listed(asked):
            ids, token = pages[dict(asked.query).get("nextToken")]
            return {"items": [document_of(run) for run in ids], "nextToken": token, "warnings": ["run x is not listed"]}

        self.routes["GET /v1/runs"] = listed
        self.routes["GET /v1/runs/*"] = document_of("found")
        self.routes["GET /v1/experiments"] = {"items": [{"name": "a"}, {"name": "b"}]}
        done = self.drive(
            """
            equal([run.id for run in Experiment("e").get_runs()], ["c", "b", "a"])
            equal(next(Experiment("e").get_runs("script", "sweep", {"author": "x"}, True, "Failed")).id, "c")
            equal(next(Experiment("e").get_runs(tags={"k": "v"}, properties="p")).id, "c")
            equal(Experiment.list(), [Experiment("a"), Experiment("b")])
            equal(Run.get("@last").id, "found")
            refused(TypeError, "get_runs: tags must be a dict or a text", lambda: Experiment("e").get_runs(tags=[1]))
            """
        )
        queries = [asked.query for asked in self.daemon.asked if asked.path == "/v1/runs"]
        self.assertEqual(queries[0], [("experiment", "e"), ("limit", "200")])
        self.assertEqual(queries[1], [("experiment", "e"), ("limit", "200"), ("nextToken", "9")])
        wanted = [("experiment", "e"), ("kind", "script"), ("status", "Failed"), ("tag", "sweep"), ("property", "author=x")]
        self.assertEqual(queries[2], wanted + [("children", "1"), ("limit", "200")])
        self.assertEqual(queries[3], [("experiment", "e"), ("tag", "k=v"), ("property", "p"), ("limit", "200")])
        self.assertEqual(done.stderr_text.count("run x is not listed"), 1)
        self.assertEqual(self.daemon.asked[-1].segments[-1], "@last")

    def test_files_snapshots_and_children_of_other_runs(self):
        self.write("model.pkl", "model")
        contents = []

        def taken(asked):
            with open(asked.document["path"], "rb") as stream:
                contents.append((asked.document["name"], stream.read()))
            return {}

        self.routes.update(
            {
                "POST /v1/runs/r/artifacts": taken,
                "POST /v1/runs/r/restore": {"directory": "x"},
                "POST /v1/snapshots/abcd/restore": {"directory": "x"},
                "POST /v1/runs/r/submit": (201, document_of("child", parentRunId="r")),
                "POST /v1/runs/r/children": {"items": [document_of("c", kind="child", parentRunId="r")]},
            }
        )
        self.drive(
            """
            import io
            run = Run("e", "r")
            run.upload_file("outputs/model.pkl", "model.pkl")
            run.upload_file("stream", io.BytesIO(b"stream"))
            run.log_image  # exists
            equal(run.restore_snapshot(), os.path.abspath("r"))
            equal(run.restore_snapshot(path="there"), os.path.abspath("there"))
            equal(run.restore_snapshot("abcd", "there"), os.path.abspath("there"))
            equal(run.submit_child(ScriptRunConfig("src", "train.py"), tags={"a": None}).id, "child")
            equal(run.child_run("c").parent.id, "r")
            """
        )
        self.assertEqual(contents, [("outputs/model.pkl", b"model"), ("stream", b"stream")])
        restored = [(asked.path, asked.document["directory"]) for asked in self.daemon.asked if asked.path.endswith("restore")]
        here = self.directory
        self.assertEqual(
            restored,
            [
                ("/v1/runs/r/restore", here + "/r"),
                ("/v1/runs/r/restore", here + "/there"),
                ("/v1/snapshots/abcd/restore", here + "/there"),
            ],
        )
        child = next(asked.document for asked in self.daemon.asked if asked.path.endswith("submit"))
        self.assertEqual((child["sourceDirectory"], child["tags"]), (here + "/src", {"a": None}))
        self.assertNotIn("sourceTree", child)


class Autostart(DriverCase):
    def program(self, text):
        path = self.write("bin/runner", "#!/bin/sh\n" + text)
        os.chmod(path, 0o755)
        return os.path.dirname(path)

    def start_through(self, **more):
        """A driver whose `runner daemon start` makes a note; the daemon then is there."""
        directory = self.program(
            'echo "$@" >> "$RUNNER_HOME/started"\nwhile [ ! -S "$RUNNER_HOME/control.sock" ]; do sleep 0.02; done\n'
        )
        self.routes["GET /v1/experiments"] = {"items": []}
        more = {key: value.format(directory) for key, value in more.items()}
        process = self.start(
            PROLOGUE + "equal(Experiment.list(), [])\nequal(Experiment.list(), [])\n",
            inside=False,
            RUNNER_HOME=self.home,
            **more,
        )
        deadline = time.monotonic() + 60
        while not os.path.exists(os.path.join(self.home, "started")) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        self.start_daemon()
        _, said = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, said)
        with open(os.path.join(self.home, "started")) as stream:
            self.assertEqual(stream.read(), "daemon start\n")

    def test_a_driver_starts_the_daemon_with_the_program_in_path(self):
        self.start_through(PATH="{}:/usr/bin:/bin")

    def test_runner_bin_names_the_program_or_its_directory(self):
        self.start_through(RUNNER_BIN="{}/runner", PATH="/usr/bin:/bin")
        self.daemon.die()
        os.unlink(os.path.join(self.home, "started"))
        os.unlink(self.socket)
        self.start_through(RUNNER_BIN="{}", PATH="/usr/bin:/bin")

    def test_a_daemon_that_does_not_start_is_explained_in_its_own_words(self):
        directory = self.program('echo "runner: error: home: the disk is full" >&2; echo "hint: free some" >&2; exit 125\n')
        text = "refused(runner.Unavailable, {!r}, Experiment.list)"
        script = PROLOGUE + text.format("start the daemon: runner: error: home: the disk is full\nhint: free some")
        self.run_script(script, inside=False, RUNNER_HOME=self.home, RUNNER_BIN=directory)
        script = PROLOGUE + text.format(
            "there is no program 'runner' to start one\nhint: put the directory of 'runner' into PATH"
        )
        self.run_script(script, inside=False, RUNNER_HOME=self.home, PATH="/usr/bin:/bin")
        script = PROLOGUE + text.format("start the daemon: /missing/runner")
        self.run_script(script, inside=False, RUNNER_HOME=self.home, RUNNER_BIN="/missing/runner")

    def test_one_that_died_is_started_again_and_one_that_was_stopped_is_awaited(self):
        directory = self.program('echo "$@" >> "$RUNNER_HOME/started"\n')
        self.routes["GET /v1/experiments"] = {"items": []}
        for record, wanted in (("daemon.json", True), (None, False)):
            with self.subTest(record):
                self.start_daemon()
                process = self.start(
                    PROLOGUE + "equal(Experiment.list(), []); print('asked', flush=True)\nsys.stdin.read(0)\n"
                    "import time\nwhile os.path.exists('go') is False: time.sleep(0.02)\nequal(Experiment.list(), [])\n",
                    inside=False,
                    RUNNER_HOME=self.home,
                    RUNNER_BIN=directory,
                )
                self.assertEqual(process.stdout.readline(), "asked\n")
                self.daemon.die()
                os.unlink(self.socket)
                if record:
                    self.write("home/daemon.json", "{}")
                self.write("go", "")
                time.sleep(0.5)
                self.start_daemon()
                _, said = process.communicate(timeout=60)
                self.assertEqual(process.returncode, 0, said)
                self.assertEqual(os.path.exists(os.path.join(self.home, "started")), wanted)
                self.assertEqual("the daemon was stopped; waiting for it to come back" in said, not wanted)
                for name in ("home/daemon.json", "home/started", "go"):
                    if os.path.exists(os.path.join(self.directory, name)):
                        os.unlink(os.path.join(self.directory, name))
                self.daemon.die()

    def test_where_the_daemon_is(self):
        for variables, wanted in [
            ({"RUNNER_HOME": "/h"}, "/h/control.sock"),
            ({"RUNNER_HOME": "/h", "RUNNER_SOCKET": "/s"}, "/s"),
            ({"RUNNER_SOCKET": "relative"}, self.directory + "/relative"),
            ({"XDG_DATA_HOME": "/x"}, "/x/runner/control.sock"),
            ({"XDG_DATA_HOME": "relative"}, self.directory + "/.local/share/runner/control.sock"),
            ({}, self.directory + "/.local/share/runner/control.sock"),
        ]:
            environment = self.environment(inside=False, **variables)
            if "XDG_DATA_HOME" not in variables:
                environment.pop("XDG_DATA_HOME", None)
            found = subprocess.run(
                [sys.executable, "-c", "from runner_sdk._place import control_socket; print(control_socket())"],
                env=environment,
                cwd=self.directory,
                stdout=subprocess.PIPE,
                universal_newlines=True,
                check=True,
            )
            self.assertEqual(found.stdout.strip(), wanted)


if __name__ == "__main__":
    unittest.main()
