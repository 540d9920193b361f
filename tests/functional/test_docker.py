"""A run's container as the engine sees it, what it leaves behind (nothing), many at once, two homes on one engine."""
import json
import os
import textwrap

from support import processes, settings
from support.case import GATE
from support.docker_case import BUSYBOX, DockerTest
from support.settings import only_for


class Inspected(DockerTest):
    """One run with every limit is looked at while it lives; every test looks at another part of it."""

    SCRIPT = GATE + """
import runner
os.makedirs("outputs")
open("outputs/made", "w").write("x")
open("/tmp/made", "w").write("x")
open("/shared/made", "w").write("x")
runner.log("loss", 1)
facts = {"environ": dict(os.environ), "cwd": os.getcwd(), "source": open("kept.txt").read()}
tell("running", __import__("json").dumps(facts))
await_("go")
"""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        case = cls.for_the_class()
        cls.run_in, cls.shared = case.project, cls.home.new_project()
        case.write("main.py", cls.SCRIPT)
        case.write("kept.txt", "kept")
        cls.run_id = case.detach(*case.with_gate, "--memory", "256m", "--cpus", "0.5", "--pids", "64", "--mount", cls.shared + ":/shared:rw",
                                 "--mount", case.project + ":/readable", "-E", "GIVEN=a b", "main.py")
        cls.facts = json.loads(case.await_gate("running"))
        cls.container = case.container_of(cls.run_id)
        cls.host, cls.configuration = cls.container["HostConfig"], cls.container["Config"]
        cls.mounts = {mount["Destination"]: mount for mount in cls.container["Mounts"]}
        volume = cls.mounts.get(case.project, {}).get("Name", "")
        cls.volume = case.engine.call("GET", "/volumes/" + volume) if volume else None
        cls.made_by = {path: os.stat(path).st_uid for path in (cls.shared + "/made", cls.home.run_directory(cls.run_id) + "/tmp/made")}
        cls.alive = cls.home.leftovers(cls.run_id)
        case.open_gate("go")
        cls.document = case.wait(cls.run_id)

    def run_file(self, name):
        return "%s/%s" % (self.home.run_directory(self.run_id), name)

    def test_it_is_named_and_labelled_after_the_run_and_its_home(self):
        self.assertEqual(self.container["Name"], "/runner-" + self.run_id)
        labels = self.configuration["Labels"]
        self.assertEqual((labels["runner.run"], labels["runner.home"]), (self.run_id, self.home.data))

    def test_its_entrypoint_is_our_init_and_its_user_the_caller(self):
        self.assertEqual(self.container["Path"], "/run/runner-init")
        self.assertEqual(self.configuration["User"], "%d:%d" % (self.account.uid, self.account.gid))
        self.assertEqual(self.configuration["WorkingDir"], self.run_in)

    def test_it_has_no_capabilities_no_new_privileges_and_the_engines_own_filter(self):
        self.assertEqual(self.host["CapDrop"], ["ALL"])
        self.assertFalse(self.host["CapAdd"])
        self.assertFalse(self.host["Privileged"])
        options = " ".join(self.host["SecurityOpt"])
        self.assertIn("no-new-privileges", options)
        self.assertNotIn("unconfined", options)

    def test_the_engine_keeps_no_log_and_removes_nothing_by_itself(self):
        self.assertEqual(self.host["LogConfig"]["Type"], "none")
        self.assertFalse(self.host["AutoRemove"])
        self.assertIn(self.host["RestartPolicy"]["Name"], ("", "no"))

    def test_the_network_is_the_hosts_and_ipc_private(self):
        self.assertEqual((self.host["NetworkMode"], self.host["IpcMode"]), ("host", "private"))

    def test_limits_are_the_engines(self):
        self.assertEqual((self.host["Memory"], self.host["NanoCpus"], self.host["PidsLimit"]), (256 << 20, 500_000_000, 64 + 1))  # runner-init
        self.assertEqual(self.host["MemorySwap"], self.host["Memory"])  # no swap on top of it
        self.assertEqual(self.host["ShmSize"], 128 << 20)

    def test_what_is_mounted_where(self):
        wanted = {"/run/runner": (self.run_file("io"), True), self.account.home: (self.run_file("home"), True),
                  "/tmp": (self.run_file("tmp"), True), "/shared": (self.shared, True), "/readable": (self.run_in, False)}
        for target, (source, writable) in wanted.items():
            with self.subTest(target):
                mount = self.mounts[target]
                self.assertEqual((mount["Type"], mount["Source"], mount["RW"]), ("bind", source, writable))
        for target in ("/run/runner-init", "/run/runner-python"):
            with self.subTest(target):
                self.assertEqual((self.mounts[target]["Type"], self.mounts[target]["RW"]), ("bind", False))

    def test_the_working_directory_is_an_anonymous_overlay_of_the_snapshot(self):
        self.assertEqual(self.mounts[self.run_in]["Type"], "volume")
        self.assertRegex(self.volume["Name"], "^[0-9a-f]{64}$")
        self.assertEqual(self.volume["Options"]["type"], "overlay")
        self.assertIn("lowerdir=", self.volume["Options"]["o"])
        self.assertIn(self.home.data, self.volume["Options"]["o"])
        self.assertEqual((self.facts["cwd"], self.facts["source"]), (self.run_in, "kept"))

    def test_the_images_variables_are_there_and_the_runs_own(self):
        variables = self.facts["environ"]
        self.assertEqual((variables["IMAGE_SAYS"], variables["GIVEN"]), ("hello", "a b"))
        self.assertEqual((variables["HOME"], variables["RUNNER_RUN_ID"]), (self.account.home, self.run_id))

    def test_what_the_script_makes_belongs_to_the_user(self):
        self.assertEqual(set(self.made_by.values()), {self.account.uid})

    def test_container_volume_and_directory_are_there_while_it_lives_and_gone_after_it(self):
        for kind in ("container ", "run directory "):
            self.assertTrue([left for left in self.alive if left.startswith(kind)], self.alive)
        self.home.assert_nothing_left(self.run_id)
        self.assertNotIn(self.volume["Name"], self.engine.volumes())

    def test_outputs_and_metrics_are_kept(self):
        self.assertEqual([o["name"] for o in self.document["outputs"]], ["outputs/made"])
        self.assertEqual(self.document["metrics"], {"loss": 1})
        self.assertEqual((self.document["status"], self.document["isolation"]), ("Completed", "docker"))


class LikeDockerRun(DockerTest):
    """The oracle: the docker client, asked for the same container."""

    FACTS = """\
        import ctypes, hashlib, resource
        def content(path):
            try:
                return hashlib.sha256(open(path, "rb").read()).hexdigest()
            except OSError as error:
                return error.errno
        def listing(path):
            try:
                return sorted(os.listdir(path))
            except OSError as error:
                return error.errno
        status = dict(line.rstrip("\\n").split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
        facts["status"] = {name: status[name] for name in ("Uid", "Gid", "CapBnd", "CapEff", "NoNewPrivs", "Seccomp")}
        facts["limits"] = {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")
                           and name not in ("RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE")}  # a part of them: test_init_hostile
        facts["files"] = {path: content(path) for path in ("/etc/hosts", "/etc/resolv.conf", "/etc/os-release",
                                                           "/proc/kcore", "/proc/keys", "/proc/timer_list")}
        facts["listings"] = {path: listing(path) for path in ("/usr/bin", "/usr/lib", "/etc", "/opt", "/dev", "/sys/firmware",
                                                              "/proc/acpi", "/proc/scsi")}
        facts["network"] = listing("/sys/class/net")
        facts["unshare"] = ctypes.CDLL(None).unshare(0x10000000)
        facts["says"] = os.environ["IMAGE_SAYS"]
        """

    def by_docker(self, network):
        code = "import json, os, sys\nfacts = {}\n" + textwrap.dedent(self.FACTS) + "print(json.dumps(facts))\n"
        user = "%d:%d" % (self.account.uid, self.account.gid)
        result = self.home.call("docker", "run", "--rm", "--user", user, "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
                                "--network", network, "--ipc", "private", "--entrypoint", "python3", settings.IMAGE, "-c", code)
        self.assertEqual(result.code, 0, result.describe())
        return result.json

    def test_the_script_finds_the_same_as_in_docker_run(self):
        for network, options in (("host", ()), ("none", ("--network", "off"))):
            with self.subTest(network):
                self.assertEqual(self.python_facts(self.FACTS, *options), self.by_docker(network))


class Network(DockerTest):
    def test_off_is_the_engines_none(self):
        run_id = self.detach_shell("tell running\nawait go\n", "--network", "off")
        self.await_gate("running")
        self.assertEqual(self.container_of(run_id)["HostConfig"]["NetworkMode"], "none")
        self.open_gate("go")
        self.wait(run_id)


class ChangedMounts(DockerTest):
    """What a --mount names may be another thing by the time the run starts."""

    def queued_with(self, source, *more):
        self.blocker = self.hold_the_queue()
        return self.detach_shell("ls /x\n", "--mount", source + ":/x:rw", *more)

    def ends_start_failed(self, run_id, *parts):
        self.open_gate("release")
        self.wait(self.blocker)
        run = self.wait(run_id, 125)
        self.assertEqual(run["outcome"]["kind"], "start_failed")
        for part in parts:
            self.assertIn(part, run["outcome"]["message"])
        self.assertEqual(self.ok("submit", "--image", BUSYBOX, "--command", "echo alive").text, "alive\n")

    def test_a_link_to_the_data_directory_is_not_followed(self):
        innocent, link = self.home.new_project(), os.path.join(self.home.base, "link-" + self.home.token)
        os.symlink(innocent, link)
        run_id = self.queued_with(link)
        os.unlink(link)
        os.symlink(self.home.data, link)
        self.addCleanup(os.unlink, link)
        self.ends_start_failed(run_id, link, "data directory")

    @only_for("ordinary")
    def test_one_that_may_not_be_entered_any_more_ends_the_run_not_the_daemon(self):
        parent = self.home.new_project()
        self.home.write(parent + "/sub/file", "x")
        run_id = self.queued_with(parent + "/sub")
        os.chmod(parent, 0)
        self.addCleanup(os.chmod, parent, 0o755)
        self.ends_start_failed(run_id, parent + "/sub", "cannot be entered")

    def test_one_that_is_gone_is_named(self):
        source = self.home.new_project()
        run_id = self.queued_with(source)
        os.rmdir(source)
        self.ends_start_failed(run_id, source, "does not exist")

    def test_the_runners_own_places_are_refused(self):
        directory = self.home.new_project()
        for place in ("/run", "/etc", "/run/secrets", "/proc"):
            result = self.runner("submit", "--image", BUSYBOX, "--mount", directory + ":" + place, "--command", "true", "x")
            self.assert_error(result, 2, place)
        self.assertEqual(os.listdir(directory), [])


class Memory(DockerTest):
    def test_a_killed_child_is_noted_and_the_script_goes_on(self):
        self.submit_python("""\
            import subprocess, sys
            child = subprocess.run([sys.executable, "-c", "x = bytearray(300 << 20)"])
            print(child.returncode)
            """, "--memory", "64m")
        run = self.show()
        self.assertEqual((run["status"], run["outcome"]["kind"], run["outcome"]["exitCode"]), ("Completed", "exited", 0))
        self.assertEqual(self.log(), b"-9\n")
        self.assertIn("memory", run["outcome"]["message"])


class ManyAtOnce(DockerTest):
    configuration = "parallel = 20\n"
    COUNT = 20

    def test_twenty_live_together_and_leave_nothing(self):
        runs = [self.numbered(n) for n in range(self.COUNT)]
        for n in range(self.COUNT):
            self.await_gate("running-%d" % n)
        self.assertEqual([self.show(run)["status"] for run in runs], ["Running"] * self.COUNT)
        living = [item for item in self.engine.containers(self.home.token) if item["State"] == "running"]
        self.assertEqual(len(living), self.COUNT)
        self.open_gate("go")
        for n, run in enumerate(runs):
            self.wait(run, n)
            self.assertEqual(self.log(run), b"this is %d\n" % n)
        self.home.assert_nothing_left()

    def numbered(self, n):
        return self.detach_shell('echo "this is $NUMBER"\ntell "running-$NUMBER"\nawait go\nexit "$NUMBER"\n', "-E", "NUMBER=%d" % n)


class TwoHomes(DockerTest):
    fresh_home = True

    def test_neither_daemon_touches_the_others_containers(self):
        mine = self.detach_shell("tell running\nawait go\necho done\n")
        self.await_gate("running")
        container = self.container_of(mine)["Id"]
        other = self.make_home()
        self.addCleanup(other.close)
        project = other.new_project()
        other.write(project + "/main.sh", "echo other\n")
        submit = ("submit", "--image", "runner-test/busybox:1", "main.sh")
        self.assertEqual(other.run(*submit, directory=project).text, "other\n")
        self.home.kill_daemon()  # nobody looks after mine now
        other.kill_daemon()
        self.assertEqual(other.run(*submit, directory=project).text, "other\n")  # a start with its sweep of what nobody owns
        other.assert_nothing_left()
        self.assertTrue(self.engine.inspect(container)["State"]["Running"])
        self.open_gate("go")
        self.wait(mine)
        self.assertEqual(self.log(mine), b"done\n")
        self.home.assert_nothing_left()


class ThisSuite(DockerTest):
    fresh_home = True

    def test_the_shim_of_a_container_and_its_init_are_found(self):
        """Of this suite's own tools: tests that kill an init that is not found would test nothing."""
        run_id = self.detach_shell("tell running\nawait go\n")
        self.await_gate("running")
        init = processes.init_of(run_id)
        self.assertEqual(init.pid, self.container_of(run_id)["State"]["Pid"])
        self.open_gate("go")
        self.wait(run_id)
