"""Images: which program runs in them, what of them counts, what is recorded, where they come from, what is wrong with them."""
import grp
import json
import os
import platform
import shutil
import socket

from support import registry, settings
from support.docker_case import BUSYBOX, DockerTest
from support.settings import only_for
from support.waiting import wait_until

IMAGE_ID = r"^sha256:[0-9a-f]{64}$"


class Interpreters(DockerTest):
    WHO = "import json, os, sys\nprint(json.dumps([sys.executable, os.getuid(), os.getcwd(), sys.argv]))\n"

    def who(self, image, *options, arguments=()):
        self.write("main.py", self.WHO)
        return json.loads(self.ok("submit", "--image", image, *options, "main.py", *arguments).text)

    def ends_start_failed(self, *parts):
        run = self.show()
        self.assertEqual((run["status"], run["outcome"]["kind"]), ("Failed", "start_failed"))
        for part in parts:
            self.assertIn(part, run["outcome"]["message"])
        self.home.assert_nothing_left(run["runId"])

    def test_a_py_file_runs_with_python3(self):
        executable, uid, directory, arguments = self.who(settings.IMAGE, arguments=["a b", ""])
        self.assertRegex(executable, r"/python3[.\d]*$")
        self.assertEqual((uid, directory, arguments), (self.account.uid, self.project, ["main.py", "a b", ""]))

    def test_without_python3_python_is_good(self):
        self.assertRegex(self.who("runner-test/only-python:1")[0], r"/python(3[.\d]*)?$")

    def in_image(self, interpreter):
        self.write(".runner/job.runconfig", """\
            environment:
              docker:
                enabled: true
                baseImage: %s
              python:
                userManagedDependencies: true
                interpreterPath: %s
            """ % (settings.IMAGE, interpreter))

    def test_the_runconfig_may_name_the_interpreter(self):
        self.in_image("/usr/bin/python3.11")
        self.write("main.py", self.WHO)
        self.assertEqual(json.loads(self.ok("submit", "-c", "job", "main.py").text)[0], "/usr/bin/python3.11")

    def test_an_image_of_the_command_line_does_without_the_hosts_interpreter(self):
        self.write(".runner/job.runconfig", """\
            environment:
              python:
                userManagedDependencies: true
                interpreterPath: /usr/bin/python3.11
            """)
        self.assertEqual(self.who(settings.IMAGE, "-c", "job")[0], "/usr/bin/python3")

    def test_an_interpreter_that_the_image_does_not_have_is_named(self):
        self.in_image("/opt/none/python")
        self.write("main.py", self.WHO)
        self.ok("submit", "-c", "job", "main.py", code=125)
        self.ends_start_failed("/opt/none/python")

    def test_without_any_python_a_py_file_cannot_start(self):
        self.write("main.py", self.WHO)
        self.ok("submit", "--image", BUSYBOX, "main.py", code=125)
        self.ends_start_failed("has neither python3 nor python")

    def test_a_sh_file_needs_no_python(self):
        self.write("main.sh", "echo \"$0 $1\"; exit 4\n")
        self.assertEqual(self.ok("submit", "--image", BUSYBOX, "main.sh", "one", code=4).text, "main.sh one\n")

    def test_without_a_shell_a_sh_file_cannot_start(self):
        self.write("main.sh", "echo\n")
        self.ok("submit", "--image", "runner-test/empty:1", "main.sh", code=125)
        self.ends_start_failed("sh")

    def test_without_a_shell_a_command_vector_runs(self):
        for image, program in (("runner-test/empty:1", "/say"), ("runner-test/musl:1", "say")):
            with self.subTest(image):
                text = self.ok("submit", "--image", image, "--command", program, "a", "b c").text
                self.assertEqual(text, "cwd=%s home=%s a b c\n" % (self.project, self.account.home))

    def test_a_program_that_the_image_does_not_have_is_named(self):
        self.ok("submit", "--image", BUSYBOX, "--command", "no-such-program-here", "x", code=125)
        self.ends_start_failed("no-such-program-here")

    def test_the_images_user_and_directory_do_not_count(self):
        executable, uid, directory, _ = self.who("runner-test/nonroot:1")
        self.assertEqual((uid, directory), (self.account.uid, self.project))


class Environment(DockerTest):
    def test_the_images_variables_are_seen_and_can_be_replaced(self):
        show = ("--command", "printenv IMAGE_SAYS")
        self.assertEqual(self.submit(*show).text, "hello\n")
        self.assertEqual(self.submit("-E", "IMAGE_SAYS=bye", *show).text, "bye\n")

    def test_neither_entrypoint_nor_command_of_the_image_are_used(self):
        image = self.image(settings.IMAGE)
        self.assertEqual((image["Config"]["Entrypoint"], image["Config"]["Cmd"]), (["/bin/false"], ["not", "this"]))
        self.assertEqual(self.submit("--command", "printf", "%s|", "a", "b").text, "a|b|")

    def test_what_ran_is_recorded_whatever_the_tag_means_later(self):
        image = self.image(settings.IMAGE)
        self.submit_python("pass\n")
        environment = self.show()["environment"]
        self.assertRegex(environment["image"]["id"], IMAGE_ID)
        self.assertEqual((environment["name"], environment["kind"], environment["digest"]),
                         (settings.IMAGE, "image", image["Id"].removeprefix("sha256:")))
        self.assertEqual(environment["image"], {"id": image["Id"], "digest": None,
                                                "platform": "%s/%s" % (image["Os"], image["Architecture"])})

    def test_an_image_may_be_named_by_its_id(self):
        image = self.image(BUSYBOX)["Id"]
        self.ok("submit", "--image", image, "--command", "true", "x")
        self.assertEqual(self.show()["environment"]["image"]["id"], image)

    def test_the_caller_says_which_engine_however_the_daemon_was_started(self):
        if self.home.daemon_pid():
            self.home.kill_daemon()
        self.ok("daemon", "start", environment={"DOCKER_HOST": "unix:///nowhere/docker.sock"})
        self.submit("--command", "true", "x")


class Occupied(DockerTest):
    """The image has files of its own where the source directory is."""

    PLACE = "/var/tmp/runner-test-occupied"

    def setUp(self):
        super().setUp()
        os.mkdir(self.PLACE, 0o755)  # fails when another test is at it
        self.addCleanup(shutil.rmtree, self.PLACE)
        self.account.own(self.PLACE)
        self.home.write(self.PLACE + "/main.py", "import os\nprint(os.getcwd(), sorted(os.listdir('.')), os.listdir(%r))\n"
                                                 "os.mkdir('outputs')\nopen('outputs/a', 'w').write('x')\n" % self.PLACE)

    def test_the_run_is_at_work_instead_and_says_so(self):
        result = self.ok("submit", "--image", "runner-test/occupied:1", "main.py", directory=self.PLACE)
        self.assertEqual(result.text, "/work ['main.py'] ['theirs']\n")
        run = self.show()
        self.assertIn("/work", "\n".join(run["notices"]))
        self.assertEqual([o["name"] for o in run["outputs"]], ["outputs/a"])

    def test_without_any_place_it_is_refused(self):
        result = self.ok("submit", "--image", "runner-test/occupied-twice:1", "main.py", directory=self.PLACE, code=125)
        for part in (self.PLACE, "/work", "hint: "):
            self.assertIn(part, result.err)

    def test_another_image_has_it_in_its_place(self):
        result = self.ok("submit", "--image", settings.IMAGE, "main.py", directory=self.PLACE)
        self.assertEqual(result.text, "{0} ['main.py'] ['main.py']\n".format(self.PLACE))
        self.assertNotIn("/work", "\n".join(self.show()["notices"]))


class Missing(DockerTest):
    """Images that are not there, and what cannot be got."""

    def assert_environment_failed(self, run_id, *parts):
        run = self.wait(run_id, 125)
        self.assertEqual((run["status"], run["outcome"]["kind"]), ("Failed", "environment_failed"))
        for part in parts:
            self.assertIn(part, run["outcome"]["message"])
        self.assertIsNone(run["startTimeUtc"])
        self.home.assert_nothing_left(run_id)

    def test_a_registry_that_does_not_answer_is_told_in_the_engines_words(self):
        run_id = self.ok("submit", "--detach", "--image", "127.0.0.1:1/nobody/here:1", "--command", "true", "x").text.strip()
        self.assert_environment_failed(run_id, "127.0.0.1:1/nobody/here:1", "connection refused")

    def test_a_follower_exits_with_125_and_shows_why(self):
        result = self.ok("submit", "--image", "127.0.0.1:1/nobody/here:1", "--command", "true", "x", code=125)
        self.assertIn("connection refused", result.err)

    def test_deleted_between_submission_and_start(self):
        image = self.own_image("gone")
        blocker = self.hold_the_queue()
        queued = self.detach_shell("echo must not run\n", image=image)
        self.assertEqual(self.show(queued)["status"], "Queued")
        self.engine.remove_image(image)
        self.open_gate("release")
        self.wait(blocker)
        self.assert_environment_failed(queued, image)
        self.assertEqual(self.log(queued), b"")

    def test_another_processors_image_is_refused_naming_both(self):
        before = self.runs()
        self.write("main.sh", "echo\n")
        result = self.runner("submit", "--image", "runner-test/arm64:1", "main.sh")
        self.assert_error(result, 125, "arm64", {"x86_64": "amd64"}.get(platform.machine(), platform.machine()), hint=False)
        self.assert_no_new_run(before)

    def test_a_malformed_reference_is_wrong_usage(self):
        before = self.runs()
        for reference in ("Not A Reference", "UPPER/case:1", "x:tag:tag", ""):
            with self.subTest(reference):
                result = self.runner("submit", "--image", reference, "--command", "true")
                self.assertEqual(result.code, 2, result.describe())
                self.assertIn(reference, result.err)
        self.assert_no_new_run(before)


class Usage(DockerTest):
    def test_combinations_that_contradict_themselves(self):
        self.write("main.py", "pass\n")
        before = self.runs()
        for options in (["--isolation", "docker"], ["--image", BUSYBOX, "--python", settings.PYTHON],
                        ["--image", BUSYBOX, "--isolation", "sandbox"]):
            with self.subTest(options):
                result = self.runner("submit", *options, "main.py")
                self.assertEqual(result.code, 2, result.describe())
                self.assertIn("--image", result.err)
        self.assert_no_new_run(before)

    def test_isolation_docker_with_an_image_says_the_same_twice(self):
        self.ok("submit", "--isolation", "docker", "--image", BUSYBOX, "--command", "true", "x")


class Pull(DockerTest):
    def setUp(self):
        super().setUp()
        if problem := registry.missing():
            self.skipTest(problem)
        self.registry = registry.Registry()
        self.addCleanup(self.registry.close)

    def published(self):
        """The name of an image that only the registry has."""
        local = self.own_image("pulled")
        name = local.rsplit(":", 1)[0]
        pushed, behind_the_door = self.registry.host + "/" + name, self.registry.door + "/" + name
        self.engine.tag(local, pushed, "1")
        self.engine.push(pushed + ":1")
        for reference in (pushed + ":1", local):
            self.engine.remove_image(reference)
        self.assertIsNone(self.engine.image(local))
        self.addCleanup(self.engine.remove_image, behind_the_door + ":1")
        return behind_the_door

    def test_progress_is_seen_and_the_digest_recorded(self):
        name = self.published()
        run_id = self.detach_shell("echo pulled\n", image=name + ":1")

        def progress():
            run = self.show(run_id)
            return run if "pulling %s:1: " % name in run["statusReason"] else None
        self.assertEqual(wait_until(progress, "the progress is seen")["status"], "Preparing")
        self.registry.open_door()
        run = self.wait(run_id)
        self.assertEqual(self.log(run_id), b"pulled\n")
        self.assertRegex(run["environment"]["image"]["digest"], r"^%s@sha256:[0-9a-f]{64}$" % name)
        self.assertEqual(run["environment"]["image"]["id"], self.engine.image(name + ":1")["Id"])

    def test_whoever_follows_sees_it(self):
        following = self.home.background("submit", "--image", self.published() + ":1", "--command", "echo pulled",
                                         directory=self.project)
        following.wait_for_output(b"runner: pulling ", stream="err")
        self.registry.open_door()
        result = following.finish()
        self.assertEqual((result.code, result.out), (0, b"pulled\n"), result.describe())

    def test_a_pull_does_not_hold_up_other_runs(self):
        pulling = self.detach_shell("echo pulled\n", image=self.published() + ":1")
        self.submit("--command", "true", "x")
        self.assertEqual(self.show(pulling)["status"], "Preparing")
        self.registry.open_door()
        self.wait(pulling)

    def test_a_pull_can_be_cancelled(self):
        run_id = self.detach_shell("echo must not run\n", image=self.published() + ":1")
        self.until_status(run_id, "Preparing")
        self.ok("cancel", run_id)
        run = self.wait(run_id, 130)
        self.assertEqual((run["status"], run["startTimeUtc"]), ("Canceled", None))
        self.home.assert_nothing_left(run_id)

    def test_a_daemon_that_dies_while_it_pulls_pulls_again(self):
        run_id = self.detach_shell("echo pulled\n", image=self.published() + ":1")
        self.until_status(run_id, "Preparing")
        self.home.kill_daemon()
        self.registry.open_door()
        self.wait(run_id)
        self.assertEqual(self.log(run_id), b"pulled\n")

    def test_an_image_with_a_digest_that_was_deleted_is_pulled_again(self):
        name = self.published()
        self.registry.open_door()
        first = self.wait(self.detach_shell("echo once\n", image=name + ":1"))
        blocker = self.hold_the_queue()
        queued = self.detach_shell("echo again\n", image=name + ":1")
        self.engine.remove_image(name + ":1")
        self.engine.remove_image(first["environment"]["image"]["id"])
        self.assertIsNone(self.engine.image(first["environment"]["image"]["id"]))
        self.open_gate("release")
        self.wait(blocker)
        run = self.wait(queued)
        self.assertEqual(run["environment"]["image"], first["environment"]["image"])


class NoEngine(DockerTest):
    DEFAULTS = ("/var/run/docker.sock", "/run/podman/podman.sock")

    def refused(self, code, *parts, hint="", **variables):
        before = self.runs()
        self.write("main.sh", "echo\n")
        result = self.runner("submit", "--image", BUSYBOX, "main.sh", environment=variables)
        self.assert_error(result, code, *parts, hint=True)
        self.assertRegex(result.error_lines[1], hint)
        self.assert_no_new_run(before)

    def without_defaults(self):
        if there := [path for path in self.DEFAULTS if os.path.exists(path)]:
            self.skipTest("this machine has an engine of its own: " + ", ".join(there))

    def test_none_at_all_names_the_places_and_how_to_get_one(self):
        self.without_defaults()
        self.refused(125, *self.DEFAULTS, hint="install", DOCKER_HOST=None)

    def test_the_runtime_directory_is_searched(self):
        self.without_defaults()
        directory = self.home.new_project("runtime-" + self.home.token)
        self.refused(125, directory + "/docker.sock", hint="install", DOCKER_HOST=None, XDG_RUNTIME_DIR=directory)
        os.symlink(self.engine.socket, directory + "/docker.sock")
        self.submit("--command", "true", "x", environment={"DOCKER_HOST": None, "XDG_RUNTIME_DIR": directory})

    def test_a_socket_that_is_not_there_is_named(self):
        self.refused(125, "/nowhere/docker.sock", hint="start", DOCKER_HOST="unix:///nowhere/docker.sock")

    @only_for("ordinary")
    def test_a_forbidden_socket_says_how_to_be_allowed(self):
        path = self.home.base + "/closed.sock"
        group = grp.getgrnam("adm")  # some group that the user is not in
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        server.bind(path)
        server.listen()
        os.chmod(path, 0o660)
        os.chown(path, 0, group.gr_gid)
        self.refused(5, path, hint=r"\badm\b.*rootless", DOCKER_HOST="unix://" + path)

    def test_a_remote_engine_is_refused(self):
        self.refused(2, "tcp://192.0.2.1:2375", hint="unix://", DOCKER_HOST="tcp://192.0.2.1:2375")
