"""Environments out of a Dockerfile: what is built and sent, what a failure says, registries that want a login."""
import base64
import json
import os
import random
import shutil
import subprocess
import unittest

from support import registry, settings
from support.docker_case import BUSYBOX, DockerTest
from support.waiting import wait_until


class DockerfileTest(DockerTest):
    def dockerfile(self, text, name="Dockerfile"):
        return self.write(name, text)

    def build_log(self, run="@last"):
        """system_logs/environment_build.log of the run."""
        return self.ok("logs", run, "--name", "system_logs/environment_build.log").text

    def failed(self, *parts):
        run = self.show()
        self.assertEqual((run["status"], run["outcome"]["kind"]), ("Failed", "environment_failed"), run)
        for part in parts:
            self.assertIn(part, run["outcome"]["message"])
        return run


class Building(DockerfileTest):
    def test_a_script_runs_in_what_the_dockerfile_makes(self):
        self.dockerfile("""\
            FROM %s
            RUN echo made >/made
            """ % BUSYBOX)
        self.write("main.sh", "cat /made; pwd\n")
        result = self.ok("submit", "--dockerfile", "Dockerfile", "main.sh")
        self.assertEqual(result.text, "made\n%s\n" % self.project)
        environment = self.show()["environment"]
        self.assertEqual(environment["kind"], "dockerfile")
        self.assertRegex(environment["image"]["id"], r"^sha256:[0-9a-f]{64}$")
        self.assertIsNotNone(self.engine.image(environment["image"]["id"]))

    def test_the_second_run_builds_nothing(self):
        self.dockerfile("FROM %s\nRUN echo %s >/made\n" % (BUSYBOX, self.home.token))
        self.write("main.sh", "cat /made\n")
        self.ok("submit", "--dockerfile", "Dockerfile", "main.sh")
        first = self.show()["environment"]
        result = self.ok("submit", "--dockerfile", "Dockerfile", "main.sh")
        self.assertEqual(result.text, self.home.token + "\n")
        self.assertEqual(self.show()["environment"], first)
        self.assertNotIn("step 1 of", result.err)

    def test_a_runconfig_names_the_dockerfile_or_holds_it(self):
        self.dockerfile("FROM %s\nRUN echo made >/made\n" % BUSYBOX, "docker/Dockerfile")
        self.write("main.sh", "cat /made\n")
        self.write(".runner/path.runconfig", "script: main.sh\nenvironment: {docker: {enabled: true, baseDockerfile: docker/Dockerfile}}\n")
        self.write(".runner/text.runconfig", "script: main.sh\nenvironment:\n  docker:\n    enabled: true\n    baseDockerfile: |\n"
                                             "      FROM %s\n      RUN echo made >/made\n" % BUSYBOX)
        for name in ("path", "text"):
            self.assertEqual(self.ok("submit", "-c", name).text, "made\n")

    def test_build_arguments_count(self):
        self.dockerfile("ARG BASE=nowhere\nFROM $BASE\nARG WORD=none\nRUN echo $WORD >/made\n")
        self.write("main.sh", "cat /made\n")
        for word in ("one", "two"):
            options = ("--build-arg", "BASE=" + BUSYBOX, "--build-arg", "WORD=" + word)
            self.assertEqual(self.ok("submit", "--dockerfile", "Dockerfile", *options, "main.sh").text, word + "\n")

    def test_steps_are_told_and_logged(self):
        self.dockerfile("FROM %s\nRUN echo said-%s\n" % (BUSYBOX, self.home.token))
        self.write("main.sh", "true\n")
        result = self.ok("submit", "--dockerfile", "Dockerfile", "main.sh")
        log = self.build_log()
        self.assertIn("step 2 of 2: RUN echo said-" + self.home.token, log)
        self.assertIn("\nsaid-%s\n" % self.home.token, log)
        self.assertNotIn("said-", result.text)

    def test_a_changed_file_of_the_context_is_another_environment(self):
        self.dockerfile("FROM %s\nCOPY word /word\n" % BUSYBOX)
        self.write("main.sh", "cat /word\n")
        for word in ("one\n", "two\n", "one\n"):
            self.write("word", word)
            self.assertEqual(self.ok("submit", "--dockerfile", "Dockerfile", "main.sh").text, word)

    def test_a_registered_one_keeps_to_the_rules_beside_it(self):
        self.write("deploy/Dockerfile", "FROM %s\nCOPY . /app\n" % BUSYBOX)
        self.write("deploy/Dockerfile.dockerignore", "private\n")
        self.write("private", "x\n")
        self.write("public", "x\n")
        self.write("main.sh", "ls /app\n")
        direct = self.ok("submit", "--dockerfile", "deploy/Dockerfile", "main.sh").text.split()
        self.assertNotIn("private", direct)
        self.assertIn("public", direct)
        name = "with-rules-" + self.home.token
        self.ok("env", "register", name, "--dockerfile", "deploy/Dockerfile")
        self.assertEqual(self.ok("submit", "--env", name, "main.sh").text.split(), direct)

    def test_a_cancelled_run_ends_its_build(self):
        self.dockerfile("FROM %s\nRUN echo begun-%s; sleep 300\n" % (BUSYBOX, self.home.token))
        self.write("main.sh", "true\n")
        run = self.ok("submit", "--detach", "--dockerfile", "Dockerfile", "main.sh").text.strip()

        def building():
            return [item for item in self.engine.containers() if "begun-" + self.home.token in item["Command"]]

        wait_until(building, "the step runs")
        self.assertIn("step 2 of 2", self.show(run)["statusReason"])
        self.ok("cancel", run)
        self.until_status(run, "Canceled")
        wait_until(lambda: not building(), "the builder's container is gone")

    def test_what_was_pruned_is_built_again(self):
        self.dockerfile("FROM %s\nRUN echo %s >/made\n" % (BUSYBOX, self.home.token))
        self.write("main.sh", "cat /made\n")
        self.ok("submit", "--dockerfile", "Dockerfile", "main.sh")
        self.home.assert_nothing_left(self.show()["runId"])
        self.engine.remove_image(self.show()["environment"]["image"]["id"])
        self.assertEqual(self.ok("submit", "--dockerfile", "Dockerfile", "main.sh").text, self.home.token + "\n")


class Failing(DockerfileTest):
    def fails(self, text, *parts, code=125):
        self.dockerfile(text)
        self.write("main.sh", "true\n")
        result = self.ok("submit", "--dockerfile", "Dockerfile", "main.sh", code=code)
        return result, self.failed(*parts)

    def test_a_failing_command_is_told_with_step_line_and_its_words(self):
        _, run = self.fails("FROM %s\n\nRUN echo fine && \\\n    echo why not >&2; exit 7\n" % BUSYBOX,
                            "Dockerfile:3", "step 2 of 2", "status 7", "why not")
        self.assertIn("why not", self.build_log(run["runId"]))

    def test_a_failed_build_is_tried_again(self):
        self.fails("FROM %s\nRUN false\n" % BUSYBOX, "step 2 of 2")
        self.fails("FROM %s\nRUN false\n" % BUSYBOX, "step 2 of 2")

    def test_an_unknown_instruction_is_told_with_its_line(self):
        self.fails("FROM %s\nRUN true\nFOO bar\n" % BUSYBOX, "line 3", "FOO")

    def test_a_file_that_is_not_in_the_context_is_named(self):
        self.fails("FROM %s\nCOPY no-such-file /x\n" % BUSYBOX, "Dockerfile:2", "no-such-file")

    def test_what_only_buildkit_knows_is_said(self):
        result, _ = self.fails("FROM %s\nRUN --mount=type=cache,target=/x true\n" % BUSYBOX, "mount")
        self.assertIn("BuildKit", result.err)

    def test_a_base_that_cannot_be_had_is_named(self):
        self.fails("FROM 127.0.0.1:1/nothing:1\n", "127.0.0.1:1")

    def test_without_from_nothing_is_submitted(self):
        before = self.runs()
        self.dockerfile("# empty\nRUN true\n")
        self.write("main.sh", "true\n")
        self.assert_error(self.runner("submit", "--dockerfile", "Dockerfile", "main.sh"), 2, "Dockerfile:2", "FROM", hint=False)
        self.assert_no_new_run(before)

    def test_a_directory_is_no_dockerfile(self):
        self.write("main.sh", "true\n")
        self.assert_error(self.runner("submit", "--dockerfile", ".", "main.sh"), 2, "--dockerfile", "directory")

    def test_a_bad_ignore_pattern_is_told_with_its_line(self):
        before = self.runs()
        self.dockerfile("FROM %s\nCOPY . /x\n" % BUSYBOX)
        self.write(".dockerignore", "fine\n[a\n")
        self.write("main.sh", "true\n")
        self.assert_error(self.runner("submit", "--dockerfile", "Dockerfile", "main.sh"), 2, ".dockerignore:2", hint=False)
        self.assert_no_new_run(before)


class Context(DockerfileTest):
    """The docker client is the oracle: the same directory, the same files in the image."""

    LIST = "RUN cd /ctx && busybox find . -exec busybox stat -c '%a %F %s %N' {} + | busybox sort >/list\n"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not shutil.which("docker"):
            raise unittest.SkipTest("the docker client is missing")

    def by_docker(self):
        tag = "oracle-%s:1" % self.home.token
        self.addCleanup(self.engine.remove_image, tag)
        environment = {**os.environ, "DOCKER_BUILDKIT": "0", "DOCKER_HOST": self.engine.address}
        built = subprocess.run(["docker", "build", "--network", "none", "--tag", tag, "."], cwd=self.project, env=environment,
                               capture_output=True, text=True)
        self.assertEqual(built.returncode, 0, built.stderr)
        shown = subprocess.run(["docker", "run", "--rm", "--network", "none", tag, "cat", "/list"], env=environment,
                               capture_output=True, text=True)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        return shown.stdout.splitlines()

    def assert_same(self, ignore):
        self.dockerfile("FROM %s\nCOPY . /ctx\n%s" % (BUSYBOX, self.LIST))
        if ignore is not None:
            self.write(".dockerignore", ignore)
        theirs = self.by_docker()
        ours = self.ok("submit", "--dockerfile", "Dockerfile", "--command", "cat", "/list").text.splitlines()
        self.assertEqual(ours, theirs, "with .dockerignore %r" % ignore)
        return ours

    def tree(self):
        for name in ("a.txt", "b.md", "docs/a.md", "docs/b.txt", "docs/deep/c.md", "src/main.c", "src/.hidden", "spaced name/ü.txt"):
            self.write(name, name)
        os.chmod(os.path.join(self.project, "src/main.c"), 0o755)
        os.makedirs(os.path.join(self.project, "empty"))
        os.symlink("a.txt", os.path.join(self.project, "link"))
        os.symlink("/nowhere/" + "x" * 150, os.path.join(self.project, "dangling"))
        self.account.own(self.project)

    def test_everything_without_rules(self):
        self.tree()
        listed = self.assert_same(None)
        self.assertTrue(any("ü.txt" in line or "\\303" in line for line in listed), listed)

    def test_rules(self):
        self.tree()
        for ignore in ("*.md\n", "**/*.md\n!docs/a.md\n", "docs\n!docs/deep\n", "*\n!src/main.c\n", "/src/\n# comment\n", "Dockerfile\n.dockerignore\n",
                       "*\n!Dockerfile\n", "docs/**\n", "./docs/../src\n"):
            with self.subTest(ignore):
                self.assert_same(ignore)

    def test_random_trees_and_rules(self):
        chance = random.Random(5)
        names = ["a", "b", "ab", "c.txt", "d.md", ".e"]
        for _ in range(12):
            path = "/".join(chance.choice(names) for _ in range(chance.randint(1, 3)))
            if not os.path.exists(os.path.join(self.project, path)) and self.is_free(path):
                self.write(path, path)
        for _ in range(4):
            lines = []
            for _ in range(chance.randint(1, 4)):
                pattern = "/".join(chance.choice(names + ["*", "?", "*.txt"]) for _ in range(chance.randint(1, 2)))
                lines.append(chance.choice(["", "", "/"]) + pattern)
            # Exceptions without wildcards: the classic client looks for no others below an ignored directory.
            lines.append("!" + "/".join(chance.choice(names) for _ in range(2)))
            with self.subTest(lines):
                self.assert_same("\n".join(lines) + "\n")

    def is_free(self, path):
        parts = path.split("/")
        return not any(os.path.isfile(os.path.join(self.project, *parts[:n])) for n in range(1, len(parts)))

    def test_an_exception_with_a_star_is_found_below_an_ignored_directory(self):
        """As BuildKit has it; the classic client does not look there."""
        self.tree()
        self.write(".dockerignore", "*\n!**/*.md\n")
        self.dockerfile("FROM %s\nCOPY . /ctx\nRUN cd /ctx && busybox find . -type f | busybox sort >/list\n" % BUSYBOX)
        listed = self.ok("submit", "--dockerfile", "Dockerfile", "--command", "cat", "/list").text.splitlines()
        self.assertEqual(listed, ["./b.md", "./docs/a.md", "./docs/deep/c.md"])

    def test_a_dockerfile_of_elsewhere_is_not_in_the_image(self):
        self.write("word", "x")
        other = self.home.new_project("elsewhere-" + self.home.token)
        self.home.write(os.path.join(other, "Dockerfile"), "FROM %s\nCOPY . /ctx\nRUN cd /ctx && busybox find . | busybox sort >/list\n" % BUSYBOX)
        listed = self.ok("submit", "--dockerfile", os.path.join(other, "Dockerfile"), "--command", "cat", "/list").text.splitlines()
        self.assertEqual(listed, [".", "./word"])

    @settings.only_for("ordinary")  # root reads everything
    def test_a_file_that_cannot_be_read_is_named(self):
        self.write("locked", "x", 0o000)
        self.dockerfile("FROM %s\nCOPY . /ctx\n" % BUSYBOX)
        self.assert_error(self.runner("submit", "--dockerfile", "Dockerfile", "--command", "true", "x"), 5, "locked", hint=False)


class Registries(DockerfileTest):
    """A registry that wants a login, as `docker login` leaves it in the caller's configuration."""

    @classmethod
    def setUpClass(cls):
        if problem := registry.missing():
            raise unittest.SkipTest(problem)
        super().setUpClass()
        cls.registry = registry.Registry(login=True)
        cls.addClassCleanup(cls.registry.close)

    def setUp(self):
        super().setUp()
        self.reference = "%s/private-%s:1" % (self.registry.host, os.path.basename(self.project))
        self.engine.derive(BUSYBOX, self.reference, {"/own": os.urandom(1000)})
        self.engine.push(self.reference, registry.USER, registry.PASSWORD)
        self.engine.remove_image(self.reference)
        self.addCleanup(self.engine.remove_image, self.reference)
        self.write("main.sh", "true\n")
        self.account_files = self.home.new_project("account%d-%s" % (self.home.projects + 1, self.home.token))  # in no snapshot
        self.with_config = {"DOCKER_CONFIG": self.account_files}

    def logged_in(self, password=registry.PASSWORD):
        auth = base64.b64encode(("%s:%s" % (registry.USER, password)).encode()).decode()
        self.write(self.account_files + "/config.json", json.dumps({"auths": {self.registry.host: {"auth": auth}}}), 0o600)

    def helper(self, code):
        """docker-credential-tests, first on the caller's PATH."""
        self.write(self.account_files + "/docker-credential-tests", "#!/bin/sh\n" + code, 0o755)
        self.write(self.account_files + "/config.json", json.dumps({"credHelpers": {self.registry.host: "tests"}}))
        return {**self.with_config, "PATH": self.account_files + ":/usr/bin:/bin"}

    def assert_nothing_told(self):
        """The password is in no file of the data directory and in no log."""
        secrets = [registry.PASSWORD.encode(), base64.b64encode(("%s:%s" % (registry.USER, registry.PASSWORD)).encode())]
        for directory, _, names in os.walk(self.home.data):
            for name in names:
                path = os.path.join(directory, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as file:
                        content = file.read()
                    for secret in secrets:
                        self.assertNotIn(secret, content, path)

    def test_an_image_is_pulled_with_the_users_login(self):
        self.logged_in()
        self.ok("submit", "--image", self.reference, "main.sh", environment=self.with_config)
        self.assert_nothing_told()

    def test_a_base_image_is_pulled_with_the_users_login(self):
        self.logged_in()
        self.dockerfile("FROM %s\nRUN true\n" % self.reference)
        self.ok("submit", "--dockerfile", "Dockerfile", "main.sh", environment=self.with_config)
        self.assert_nothing_told()

    def test_a_credential_helper_is_asked(self):
        environment = self.helper("""\
            [ "$1" = get ] && [ "$(cat)" = %s ] || exit 1
            echo '{"ServerURL": "%s", "Username": "%s", "Secret": "%s"}'
            """ % (self.registry.host, self.registry.host, registry.USER, registry.PASSWORD))
        self.ok("submit", "--image", self.reference, "main.sh", environment=environment)
        self.assert_nothing_told()

    def test_without_a_login_the_refusal_says_how_to_log_in(self):
        result = self.ok("submit", "--image", self.reference, "main.sh", environment=self.with_config, code=125)
        self.failed("registry %s refuses" % self.registry.host)
        self.assertIn("docker login " + self.registry.host, result.err)

    def test_a_wrong_password_is_refused_and_not_shown(self):
        self.logged_in(password="wrong secret")
        result = self.ok("submit", "--image", self.reference, "main.sh", environment=self.with_config, code=125)
        self.assertIn("docker login " + self.registry.host, result.err)
        self.assertNotIn("wrong secret", result.err)

    def test_a_base_that_is_refused_says_how_to_log_in(self):
        self.dockerfile("FROM %s\n" % self.reference)
        result = self.ok("submit", "--dockerfile", "Dockerfile", "main.sh", environment=self.with_config, code=125)
        self.failed("registry %s refuses" % self.registry.host)
        self.assertIn("docker login " + self.registry.host, result.err)

    def test_pull_asks_the_registry_although_the_image_is_here(self):
        self.logged_in()
        self.ok("submit", "--image", self.reference, "main.sh", environment=self.with_config)
        before = self.show()["environment"]["image"]["id"]
        self.engine.derive(BUSYBOX, self.reference, {"/own": os.urandom(1000)})
        self.engine.push(self.reference, registry.USER, registry.PASSWORD)
        newer = self.image(self.reference)["Id"]
        self.engine.tag(before, self.reference.rsplit(":", 1)[0], "1")
        self.ok("submit", "--image", self.reference, "main.sh", environment=self.with_config)
        self.assertEqual(self.show()["environment"]["image"]["id"], before)
        self.ok("submit", "--pull", "--image", self.reference, "main.sh", environment=self.with_config)
        self.assertEqual(self.show()["environment"]["image"]["id"], newer)

    def test_pull_fails_where_no_registry_answers(self):
        self.ok("submit", "--pull", "--image", "127.0.0.1:1/nothing:1", "main.sh", code=125)
        self.failed("127.0.0.1:1")
