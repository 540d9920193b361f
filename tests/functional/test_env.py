"""`runner env …`: environments by name, their versions, their files, and why two of them differ."""
import hashlib
import json
import os
import zipfile

from support import settings
from support.case import RunnerTest


class Registry(RunnerTest):
    fresh_home = True

    def register(self, name, *options, **more):
        return self.ok("env", "register", name, *options, **more)

    def requirements(self, *lines, name="requirements.txt"):
        self.write(name, "".join(line + "\n" for line in lines))
        return name

    def env_error(self, code, *arguments, parts=(), hint=True, **options):
        result = self.runner("env", *arguments, **options)
        self.assert_error(result, code, *parts, hint=hint)
        self.assertEqual(result.out, b"")
        return result

    def names(self, *options):
        return [(item["name"], item["version"]) for item in self.ok("env", "list", *options, "--json").json["items"] if not item["curated"]]

    def shown(self, name):
        return self.ok("env", "show", name, "--json").json

    # --- register --------------------------------------------------------------------------------------------------------

    def test_a_version_rises_only_when_the_content_changes(self):
        file = self.requirements("numpy>=1.20", "scipy")
        self.assertEqual(self.register("training", "--requirements", file).text, "training version 1\n")
        self.assertEqual(self.register("training", "--requirements", file).text, "training version 1 (unchanged)\n")
        self.requirements("# reordered, and spelled otherwise", "SciPy", "NumPy >= 1.20")
        again = self.register("training", "--requirements", file, "--json").json
        self.assertEqual((again["version"], again["existed"]), ("1", True))
        self.requirements("numpy>=1.20", "scipy", "joblib")
        changed = self.register("training", "--requirements", file, "--json").json
        self.assertEqual((changed["name"], changed["version"], changed["kind"], changed["existed"]), ("training", "2", "venv", False))
        self.requirements("numpy>=1.20", "scipy")  # an earlier content is a new version all the same: it is the newest
        self.assertEqual(self.register("training", "--requirements", file).text, "training version 3\n")

    def test_each_kind_can_be_registered(self):
        self.write("conda.yml", "dependencies:\n  - python=3.11\n  - pip:\n      - six\n")
        self.write("Dockerfile", "FROM scratch\n")
        kinds = {"venv": ("--requirements", self.requirements("six")), "conda": ("--conda", "conda.yml"),
                 "image": ("--image", "python:3.11-slim"), "conda-image": ("--conda", "conda.yml", "--image", "debian:12"),
                 "dockerfile": ("--dockerfile", "Dockerfile"), "interpreter": ("--python", settings.PYTHON)}
        for kind, options in kinds.items():
            self.assertEqual(self.register("of-" + kind, *options, "--json").json["kind"], kind)
        listed = {item["name"]: item for item in self.ok("env", "list", "--json").json["items"]}
        for kind in kinds:
            self.assertEqual(listed["of-" + kind]["built"], None if kind in ("image", "interpreter") else False, kind)

    def test_az_s_words_are_understood(self):
        self.ok("environment", "register", "-n", "named", "--image", "busybox:1")
        self.ok("environment", "register", "-n", "named", "--image", "busybox:2")
        self.assertEqual(self.ok("environment", "show", "-n", "named", "-v", "1", "--json").json["definition"]["specification"]["image"], "busybox:1")
        self.assertEqual(self.ok("environment", "list", "-n", "named", "--json").json["items"][0]["version"], "2")

    def test_names_that_are_not_the_user_s_to_give_are_refused(self):
        for name in ("AzureML-mine", "azureml", "MICROSOFT-x", "Autosave_x"):
            self.env_error(2, "register", name, "--image", "a", parts=("'%s'" % name,))
        self.env_error(2, "register", "a:1", "--image", "a", parts=("version",))
        self.env_error(2, "register", "a b", "--image", "a", parts=("'a b'", "character"))
        self.env_error(2, "register", "x" * 201, "--image", "a", parts=("201",))
        self.env_error(2, "scaffold", "AzureML-mine", parts=("AzureML",))
        self.assertEqual(self.names("--all"), [])

    def test_what_cannot_be_registered_is_one_line_and_a_hint(self):
        self.env_error(2, "register", "n", parts=("nothing to register",))
        self.env_error(2, "register", "--image", "busybox", parts=("NAME is missing",))
        self.env_error(2, "register", "n", "--requirements", self.requirements("six"), "--image", "x", parts=("--requirements, --image",))
        self.env_error(2, "register", "n", "-d", ".", "--image", "x", parts=("-d DIR",))
        self.env_error(2, "register", "n", "-d", "nowhere", parts=("nowhere", "no such directory"))
        self.env_error(2, "register", "n", "--python", "nowhere", parts=("nowhere",))
        self.env_error(2, "register", "n", "--image", "Not A Reference", parts=("--image",))
        self.env_error(2, "register", "n", "--requirements", self.requirements("six =>1"), parts=("requirements.txt:1",))
        self.write("broken.yml", "dependencies:\n  - a\n b: [\n")
        self.env_error(2, "register", "n", "--conda", "broken.yml", parts=("broken.yml:3",), hint=False)
        self.write("empty/x", "")
        self.env_error(2, "register", "n", "-d", "empty", parts=("conda_dependencies.yml",))
        self.write("bad/azureml_environment.json", "{,}")
        self.env_error(2, "register", "n", "-d", "bad", parts=("azureml_environment.json", "JSON"))
        missing = self.runner("env", "register", "n", "--requirements", "nowhere.txt")
        self.assertIn(missing.code, (2, 3))
        self.assert_error(missing, missing.code, "nowhere.txt", hint=False)
        self.assertEqual(self.names("--all"), [])

    # --- list, show, delete ------------------------------------------------------------------------------------------------

    def test_the_list_has_the_newest_of_each_and_with_a_name_all(self):
        for version in ("1", "2"):
            self.register("b", "--image", "busybox:" + version)
        self.register("a", "--image", "busybox:1")
        self.assertEqual(self.names(), [("a", "1"), ("b", "2")])
        self.assertEqual(self.names("b"), [("b", "2"), ("b", "1")])
        text = self.ok("env", "list").text
        self.assertRegex(text.splitlines()[0], "^NAME +VERSION +KIND +AGE")
        self.assertRegex(text, r"(?m)^b +2 +image")

    def test_curated_environments_come_with_runner_and_cannot_be_deleted(self):
        listed = {item["name"]: item for item in self.ok("env", "list", "--json").json["items"]}
        self.assertEqual(sorted(listed), ["AzureML-Minimal", "AzureML-PyTorch-CPU", "AzureML-Scikit-learn"])
        self.assertTrue(all(item["curated"] and item["version"] == "1" for item in listed.values()))
        pip = self.shown("AzureML-Scikit-learn:1")["definition"]["specification"]["pip"]
        self.assertTrue(any(requirement.startswith("scikit-learn") for requirement in pip), pip)
        self.env_error(4, "delete", "AzureML-Minimal", parts=("comes with runner",))
        self.env_error(3, "show", "AzureML-Minimal:2", parts=("no such version",))

    def test_a_deleted_version_is_gone_and_its_number_is_not_given_again(self):
        for version in "123":
            self.register("n", "--image", "busybox:" + version)
        self.assertEqual(self.ok("env", "delete", "n:3").text, "n:3: 1 version deleted\n")
        self.env_error(3, "show", "n:3", parts=("n:3", "no such version"))
        self.assertEqual(self.shown("n")["version"], "2")
        self.assertEqual(self.register("n", "--image", "busybox:3").text, "n version 4\n")
        self.assertEqual(self.ok("env", "delete", "n", "--json").json, {"name": "n", "deletedVersions": 3})
        self.env_error(3, "show", "n", parts=("environment n",))
        self.assertEqual(self.register("n", "--image", "busybox:1").text, "n version 5\n")

    def test_an_unknown_name_is_not_found_with_the_nearest_as_hint(self):
        self.register("training", "--image", "busybox")
        for command in (("show",), ("list",), ("delete",), ("download",)):
            self.assertIn("training", self.env_error(3, *command, "trainign", parts=("trainign",)).error_lines[1])
        self.assertIn("training", self.env_error(3, "diff", "trainign", "training", parts=("trainign",)).error_lines[1])
        self.env_error(3, "show", "zzzzzzzz", parts=("zzzzzzzz",))
        self.env_error(2, "show", "training:x", parts=("'x'",))
        self.env_error(2, "show", "training:1", "-v", "1", parts=("version",))

    def test_an_environment_that_a_run_used_is_shown_by_its_digest_with_the_hash_s_inputs(self):
        self.submit_python("print(1)\n", "--python", settings.PYTHON)
        environment = self.show()["environment"]
        shown = self.shown(environment["digest"][:12])
        self.assertIsNone(shown["name"])
        self.assertEqual(shown["prepared"][0]["digest"], environment["digest"])
        self.assertEqual(hashlib.sha256(shown["prepared"][0]["identity"].encode()).hexdigest(), environment["digest"])
        self.assertIn(settings.PYTHON, self.ok("env", "show", environment["digest"]).text)

    # --- files --------------------------------------------------------------------------------------------------------------

    def test_what_scaffold_writes_can_be_registered_and_nothing_is_overwritten(self):
        out = self.ok("env", "scaffold", "fresh", "-d", "made").text
        self.assertEqual(out, "made/azureml_environment.json\nmade/conda_dependencies.yml\n")
        json.loads(open(self.project + "/made/azureml_environment.json").read())
        self.env_error(4, "scaffold", "fresh", "-d", "made", parts=("there already",))
        # As az: the name is what the directory says.
        self.assertEqual(self.ok("env", "register", "-d", "made").text, "fresh version 1\n")
        self.assertEqual(self.register("other", "-d", "made", "--json").json["kind"], "conda")
        self.assertEqual(self.shown("fresh")["definition"]["specification"]["channels"], ["conda-forge"])

    def test_scaffold_needs_no_daemon(self):
        self.ok("env", "scaffold", "fresh", "--no-autostart")
        self.assertIsNone(self.home.daemon_pid())
        self.assertTrue(os.path.exists(self.project + "/conda_dependencies.yml"))

    def test_a_registered_environment_can_be_submitted_by_name_and_version(self):
        self.ok("env", "scaffold", "fresh", "-d", "made")
        self.register("fresh", "-d", "made")
        self.write("main.py", "print(1)\n")
        plan = self.ok("submit", "--env", "fresh", "--dry-run", "--json", "main.py").json["environment"]
        self.assertEqual((plan["name"], plan["version"], plan["kind"]), ("fresh", "1", "conda"))
        self.register("py", "--python", settings.PYTHON)
        self.write("own/azureml_environment.json", json.dumps({"environmentVariables": {"GREETING": "hello"}, "python": {
            "userManagedDependencies": True, "interpreterPath": settings.PYTHON}}))
        self.register("py", "-d", "own")
        result = self.submit_python("import os\nprint(os.environ.get('GREETING'))\n", "--env", "py:2")
        self.assertEqual(result.text, "hello\n")
        self.assertEqual([self.show()["environment"][key] for key in ("name", "version")], ["py", "2"])
        self.assertEqual(self.submit_python("import os\nprint(os.environ.get('GREETING'))\n", "--env", "py:1").text, "None\n")
        self.assert_error(self.runner("submit", "--env", "py:3", "main.py"), 3, "py:3")

    def test_downloaded_files_registered_again_are_the_same_environment(self):
        self.write("conda.yml", "name: x\nchannels: [conda-forge, nodefaults]\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n"
                                "      - --index-url https://example.org/simple\n      - -c limits.txt\n      - six>=1; python_version < '4'\n")
        self.write("limits.txt", "numpy<2\n")
        self.write("pyproject.toml", "[project]\nname = 'x'\nversion = '1'\nrequires-python = '>=3.8'\ndependencies = ['six']\n")
        self.write("Dockerfile", "FROM scratch\nENV A=b\n")
        self.requirements("six", "-c limits.txt", "--extra-index-url https://example.org/simple")
        sources = {"conda": ("--conda", "conda.yml"), "both": ("--conda", "conda.yml", "--image", "debian:12"),
                   "pip": ("--requirements", "requirements.txt"), "project": ("--requirements", "pyproject.toml"),
                   "image": ("--image", "example.org:5000/a/b:1"), "docker": ("--dockerfile", "Dockerfile"),
                   "python": ("--python", settings.PYTHON)}
        for name, options in sources.items():
            self.register(name, *options)
            self.ok("env", "download", name, "-d", "files/" + name)
            again = self.ok("env", "register", "-d", "files/" + name).text
            self.assertEqual(again, name + " version 1 (unchanged)\n")
            self.env_error(4, "download", name, "-d", "files/" + name, parts=("there already",))

    def test_azure_s_directory_is_read_with_its_lines_in_the_messages(self):
        self.write("made/azureml_environment.json", """{
            "name": "azure",
            "environmentVariables": {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"},
            "unheard": 1,
            "python": {"userManagedDependencies": false, "interpreterPath": "python", "baseCondaEnvironment": null},
            "docker": {"enabled": true, "baseImage": "base:1", "arguments": ["--shm-size", "1g"], "shmSize": null}
        }""")
        self.write("made/conda_dependencies.yml", "dependencies:\n- python=3.11\n")
        result = self.ok("env", "register", "-d", "made", "--json")
        self.assertEqual((result.json["name"], result.json["kind"]), ("azure", "conda-image"))
        self.assertIn("azureml_environment.json:4: unknown key 'environment.unheard'", result.err)
        self.assertIn("not kept", result.err)
        definition = self.shown("azure")["definition"]
        self.assertEqual(definition["variables"], {"EXAMPLE_ENV_VAR": "EXAMPLE_VALUE"})
        self.assertEqual(definition["specification"]["image"], "base:1")

    def test_credentials_of_an_index_are_not_kept(self):
        file = self.requirements("--index-url https://user:hunter2@example.org/simple", "six")
        result = self.register("n", "--requirements", file)
        self.assertIn("credentials are not kept", result.err)
        self.assertNotIn("hunter2", self.ok("env", "show", "n", "--json").text + result.err)

    # --- diff ---------------------------------------------------------------------------------------------------------------

    def test_two_versions_that_were_never_built_differ_in_what_they_ask_for(self):
        self.register("n", "--requirements", self.requirements("six==1.15", "numpy"))
        self.register("n", "--requirements", self.requirements("six==1.16", "numpy"))
        found = self.ok("env", "diff", "n:1", "n", "--json").json
        self.assertEqual([item["text"] for item in found["items"]], ["- pip: six==1.15", "+ pip: six==1.16"])
        self.assertEqual(len(found["notes"]), 2)
        same = self.ok("env", "diff", "n:2", "n")
        self.assertEqual(same.out, b"")
        self.assertIn("no difference", same.err)


class Packages(RunnerTest):
    """Real builds, of wheels that the test makes."""

    def wheel(self, name, version):
        path = "%s/wheels/%s-%s-py3-none-any.whl" % (self.project, name, version)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        info = "%s-%s.dist-info/" % (name, version)
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(name + ".py", "VERSION = %r\n" % version)
            file.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version))
            file.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            file.writestr(info + "RECORD", "%s.py,,\n%sMETADATA,,\n%sWHEEL,,\n%sRECORD,,\n" % (name, info, info, info))
        self.account.own(self.project + "/wheels")
        return path

    def test_a_changed_version_and_an_added_package_are_named(self):
        self.wheel("alpha", "1.0"), self.wheel("alpha", "2.0"), self.wheel("beta", "1.0")
        options = "--no-index\n--find-links " + self.project + "/wheels\n"
        used = []
        for lines in ("alpha==1.0\n", "alpha==2.0\nbeta\n"):
            self.write("requirements.txt", options + lines)
            self.ok("env", "register", "mine", "--requirements", "requirements.txt")
            self.write("main.py", "import alpha\nprint(alpha.VERSION)\n")
            self.ok("submit", "--env", "mine", "main.py", timeout=180)
            used.append(self.show())
        self.assertEqual([run["environment"]["version"] for run in used], ["1", "2"])
        for pair in (("mine:1", "mine:2"), tuple(run["runId"] for run in used), tuple(run["environment"]["digest"] for run in used)):
            found = self.ok("env", "diff", *pair, "--json").json
            packages = [item["text"] for item in found["items"] if item["part"] == "packages"]
            self.assertIn("alpha: 1.0 → 2.0 (pip)", " | ".join(text.replace(" py3-none-any", "") for text in packages), pair)
            self.assertTrue(any(text.startswith("beta: added, 1.0") for text in packages), packages)
            asked = [item["text"] for item in found["items"] if item["part"] == "specification"]
            self.assertEqual(asked, ["- pip: alpha==1.0", "+ pip: alpha==2.0", "+ pip: beta"])
            self.assertEqual(found["notes"], [])
        self.assertEqual(self.ok("run", "diff", used[0]["runId"], used[1]["runId"], "--json").json["environment"]["packages"], packages)
        self.assertRegex(self.ok("run", "diff", used[0]["runId"], used[1]["runId"], "--env").text, r"alpha: 1\.0 \S+ → 2\.0 ")
        row = self.ok("env", "list", "mine", "--json").json["items"][0]
        self.assertTrue(row["built"] and row["bytes"] > 0, row)
        shown = self.ok("env", "show", "mine", "--json").json
        prepared = shown["prepared"][0]
        self.assertEqual(prepared["lockDigest"], used[1]["environment"]["lockDigest"])
        self.assertIn(("alpha", "2.0"), [(package["name"], package["version"]) for package in prepared["lock"]["packages"]])
        self.assertTrue(os.path.isdir(prepared["builds"][0]["directory"]))
        # Deleting the name leaves what the runs used.
        self.ok("env", "delete", "mine")
        self.ok("env", "show", used[0]["environment"]["digest"])
        self.ok("run", "rerun", used[0]["runId"], timeout=180)
