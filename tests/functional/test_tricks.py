"""Tricks on what works for a run outside of it: variables that steer our own programs, and files that change while they are read."""
import os
import subprocess
import textwrap
import threading
import time

from support import processes, settings
from support.case import RunnerTest
from support.settings import only_in

LIBRARY = r"""
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) {
  char program[4096] = "";
  (void)!readlink("/proc/self/exe", program, sizeof program - 1);
  FILE* witness = fopen("%s", "a");
  if (witness) { fprintf(witness, "%%s\n", program); fclose(witness); }
  else if (write(2, "library loaded\n", 15) < 0) return;
}
"""


class Injection(RunnerTest):
    """The witness is a file of the host that no run can see: whatever appears in it has run outside."""

    def setUp(self):
        super().setUp()
        witness = self.home.new_project()
        os.chmod(witness, 0o777)
        self.witness = witness + "/witness"
        source = self.write("evil.c", LIBRARY % self.witness)
        library = self.project + "/evil.so"
        built = subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], capture_output=True, text=True)
        self.assertEqual(built.returncode, 0, built.stderr)
        self.account.own(library)
        os.remove(source)
        self.write("evil.py", "import os\ntry:\n    open(%r, 'a').write('python %%d\\n' %% os.getpid())\nexcept OSError:\n    print('python code ran')\n" % self.witness)
        for name in ("sitecustomize.py", "usercustomize.py", "startup.py", "json.py"):
            self.write("modules/" + name, "exec(open(%r).read())\n" % (self.project + "/evil.py"))
        self.write("evil.sh", "echo shell >> %s 2>/dev/null || echo shell code ran\n" % self.witness)
        self.write("evil", "#!/bin/sh\n. %s/evil.sh\n" % self.project, 0o755)
        for program in ("git", "crun", "runc", "python3", "sh", "newuidmap", "runner-shim", "runner-init"):
            self.write("bin/" + program, "#!/bin/sh\n. %s/evil.sh\nexit 1\n" % self.project, 0o755)
        at = self.project
        self.variables = {"LD_PRELOAD": library, "LD_AUDIT": library, "LD_LIBRARY_PATH": at, "GCONV_PATH": at, "PYTHONPATH": at + "/modules",
                          "PYTHONSTARTUP": at + "/modules/startup.py", "PYTHONINSPECT": "", "BASH_ENV": at + "/evil.sh", "ENV": at + "/evil.sh",
                          "GIT_EXTERNAL_DIFF": at + "/evil", "GIT_SSH_COMMAND": at + "/evil", "GIT_CONFIG_GLOBAL": at + "/evil.sh", "GIT_EXEC_PATH": at + "/bin",
                          "PATH": at + "/bin:/usr/bin:/bin", "OPENSSL_CONF": at + "/evil.sh", "LD_DEBUG": "all", "LD_DEBUG_OUTPUT": witness + "/witness",
                          "MALLOC_TRACE": self.witness, "TMPDIR": witness, "GLIBC_TUNABLES": "glibc.malloc.check=3", "XDG_CONFIG_HOME": at, "LOCPATH": at,
                          "RUNNER_HOME": at, "RUNNER_SOCKET": at + "/s", "DOCKER_HOST": "unix://" + at + "/s"}
        if settings.ISOLATION == "docker":  # in there its PATH is what finds the interpreter
            del self.variables["PATH"]

    def assert_no_witness(self):
        found = ""
        if os.path.exists(self.witness):
            with open(self.witness) as file:
                found = file.read()
        self.assertEqual(found, "")
        self.assertEqual(os.listdir(os.path.dirname(self.witness)), [])

    def variable_options(self, *names):
        return [word for name in names or self.variables for word in ("-E", "%s=%s" % (name, self.variables[name]))]

    def test_the_traps_work_where_they_may(self):
        """Else the other tests could not fail."""
        self.write("true.sh", "/bin/true\n")
        self.write("main.py", "pass\n")
        self.submit(*self.variable_options("LD_PRELOAD"), "--command", "/bin/true")
        self.assertIn(b"library loaded", self.log())
        self.submit(*self.variable_options("PYTHONPATH"), "main.py")
        self.assertIn(b"python code ran", self.log())
        outside = subprocess.run(["/bin/true"], env={"LD_PRELOAD": self.variables["LD_PRELOAD"]})
        self.assertEqual(outside.returncode, 0)
        with open(self.witness) as file:
            self.assertIn("true", file.read())

    def test_variables_of_a_run_reach_nothing_outside_of_it(self):
        self.write("main.py", "print('ran')\nimport os\nos.makedirs('outputs', exist_ok=True)\nopen('outputs/x', 'w').write('x')\n")
        variables = self.variable_options()
        self.submit(*variables, "main.py")
        run = self.show()
        self.assertEqual(run["status"], "Completed")
        self.assert_no_witness()
        self.submit(*variables, "--command", "/bin/echo", "exactly")
        self.submit(*variables, "--secret", "S", "--max-run-duration", "60", "main.py", environment={"S": "x"})
        self.ok("run", "rerun", run["runId"])
        self.assert_no_witness()

    def test_variables_of_a_runconfig_reach_nothing_outside_of_a_run(self):
        self.write("main.py", "print('ran')\n")
        lines = "".join("    %s: %s\n" % (name, value or "''") for name, value in self.variables.items())
        self.write(".runner/evil.runconfig", "script: main.py\nenvironment:\n  environmentVariables:\n" + lines)
        self.submit("-c", "evil")
        self.assertIn(b"ran", self.log())
        self.assert_no_witness()

    def test_supervisors_are_started_without_them(self):
        run_id = self.detach_gated("tell('running')\nawait_('go')\n", *self.variable_options("LD_PRELOAD", "PYTHONPATH", "BASH_ENV", "GCONV_PATH"))
        self.await_gate("running")
        shim = processes.shim_of(run_id)
        around = [shim] + [p for p in processes.processes() if p.parent == shim.pid and p.name != "runner-init"]
        for process in around:
            for name in ("LD_PRELOAD", "PYTHONPATH", "BASH_ENV", "GCONV_PATH"):
                self.assertNotIn(name.encode() + b"=", process.environment, process)
        self.open_gate("go")
        self.wait(run_id)
        self.assert_no_witness()

    def test_a_source_directory_full_of_our_programs_names_runs_none_of_them(self):
        for name in ("python3", "git", "crun", "runc", "sh", "runner-shim"):
            self.write(name, "#!/bin/sh\n. %s/evil.sh\nexit 1\n" % self.project, 0o755)
        for name in ("json.py", "platform.py", "sysconfig.py", "site.py", "sitecustomize.py", "encodings.py"):
            self.write(name, "exec(open(%r).read())\n" % (self.project + "/evil.py"))
        self.write("job.sh", "exit 0\n")
        self.submit("job.sh")
        self.runner("submit", *self.isolation_options(), "--dry-run", "job.sh")
        self.assert_no_witness()

    @only_in("docker")
    def test_variables_and_files_of_an_image_reach_nothing_outside_of_it(self):
        reference = "evil-%s:1" % self.home.token
        with open(self.project + "/evil.so", "rb") as file:
            library = file.read()
        self.home.engine.derive(settings.IMAGE, reference, {"/evil/evil.so": library, "/etc/ld.so.preload": b"/evil/evil.so\n",
                                                            "/run/runner-init": b"#!/bin/sh\necho the image's init\n"})
        self.addCleanup(self.home.engine.remove_image, reference)
        self.ok("submit", "--image", reference, "--command", "/bin/echo through")
        self.assertIn(b"library loaded", self.log())
        self.assertIn(b"through", self.log())
        self.assertNotIn(b"the image's init", self.log())
        self.assert_no_witness()


class Races(RunnerTest):
    def setUp(self):
        super().setUp()
        self.runs()
        self.daemon = self.home.daemon_pid()
        self.secret = self.home.write(self.home.new_project() + "/secret", '\x1e{"kind":"metric","name":"stolen","value":1}\nhost secret\n')

    def assert_nothing_stolen(self, run_id):
        self.assertEqual(self.home.daemon_pid(), self.daemon)
        run = self.show(run_id)
        self.assertNotIn("stolen", run["metrics"])
        directory = self.home.new_project()
        self.ok("run", "download", run_id, "-d", directory)
        found = subprocess.run(["grep", "-rlaF", "-e", "host secret", "-e", "root:x:0", directory], stdout=subprocess.PIPE)
        self.assertEqual(found.stdout, b"")
        return run

    SWAP = textwrap.dedent("""\
        import ctypes, runner
        libc = ctypes.CDLL(None)
        def swap(a, b):  # RENAME_EXCHANGE: there is always one of the two
            return libc.renameat2(-100, a.encode(), -100, b.encode(), 2)
        secret = %r
        """)

    def test_a_journal_and_a_log_that_are_swapped_for_links_while_they_are_read_tell_nothing_of_the_host(self):
        run_id = self.detach_gated(self.SWAP % self.secret + textwrap.dedent("""\
        runner.log("mine", 1)
        places = os.listdir("/run/runner")
        for name in places:
            os.symlink(secret, "/run/runner/to-" + name)
        os.symlink("/proc/self/environ", "/run/runner/other")
        os.mkfifo("/run/runner/pipe")
        tell("running")
        while not os.path.exists("/gate/go"):
            for name in places:
                swap("/run/runner/" + name, "/run/runner/to-" + name)
                swap("/run/runner/" + name, "/run/runner/pipe")
        """))
        self.await_gate("running")
        stop = threading.Event()

        def look():
            while not stop.is_set():
                for arguments in (["run", "metrics", run_id, "--json"], ["show", run_id], ["logs", run_id]):
                    looked.append(self.runner(*arguments).out)
        looked = []
        thread = threading.Thread(target=look)
        thread.start()
        time.sleep(1.5)
        self.open_gate("go")
        stop.set()
        thread.join()
        self.ok("wait", run_id)
        self.assertGreater(len(looked), 10)
        self.assertEqual([out for out in looked if b"stolen" in out or b"host secret" in out], [])
        self.assert_nothing_stolen(run_id)

    def test_outputs_that_change_places_to_the_last_moment_are_files_of_the_run_or_nothing(self):
        self.submit_python("import os, time\n" + self.SWAP % self.secret + """
for place in ("outputs/real", "logs"):
    os.makedirs(place)
    open(place + "/mine", "w").write("mine")
    os.symlink(os.path.dirname(secret), "to-secret-" + place.replace("/", "-"))
    os.symlink("/etc", "to-etc-" + place.replace("/", "-"))
if os.fork() == 0:
    while True:
        for place in ("outputs/real", "logs"):
            swap(place, "to-secret-" + place.replace("/", "-"))
            swap(place, "to-etc-" + place.replace("/", "-"))
            swap("outputs", "logs")
time.sleep(0.3)
""")
        self.assert_nothing_stolen(self.show()["runId"])

    def test_names_links_nodes_and_depths_of_every_kind_are_kept_or_noticed_and_removed(self):
        run_id = self.detach_gated("""\
            os.makedirs("outputs")
            met = []
            def attempt(call):
                try:
                    call()
                except OSError as error:
                    met.append(error.errno)
            attempt(lambda: os.link("/etc/passwd", "outputs/hard"))
            attempt(lambda: os.link("/run/runner-init", "outputs/init"))
            attempt(lambda: os.link("/proc/1/environ", "outputs/environ"))
            attempt(lambda: os.mknod("outputs/white", 0o020666, os.makedev(0, 0)))
            attempt(lambda: os.mknod("outputs/null", 0o020666, os.makedev(1, 3)))
            for name in ("..", ".", "a/../../../b"):
                attempt(lambda: os.rename("outputs", "outputs/" + name))
            for name in ("...", "..\\\\..\\\\x", "%2e%2e%2fx", "-rf", "~", "$(id)", "`id`", "con", " ", "\\n", "a\\tb", "*", "\\u2025"):
                open("outputs/" + name, "w").write("kept")
            os.symlink("../../../../../../etc/passwd", "outputs/up")
            for place in ("outputs", "/tmp", "."):
                here = os.open(place, os.O_RDONLY)
                for _ in range(300):  # deeper than any path may be long and than outputs are read
                    os.mkdir("deep", 0o700, dir_fd=here)
                    below = os.open("deep", os.O_RDONLY, dir_fd=here)
                    os.close(here)
                    here = below
                os.fchmod(here, 0)
            tell("made", repr(met))
            """)
        made = self.await_gate("made", 60)
        self.assertGreaterEqual(made.count(",") + 1, 7)
        run = self.wait(run_id)
        names = [o["name"] for o in run["outputs"]]
        self.assertEqual(len([name for name in names if name.count("/") == 1]), 13, names)
        notices = "\n".join(run["notices"])
        self.assertIn("outputs/up", notices)
        self.assertIn("nested too deeply", notices)
        self.assert_nothing_stolen(run_id)
        self.home.assert_nothing_left(run_id, deadline=30)


class AllWatches(RunnerTest):
    """The kernel counts inotify instances by user: a script can take every one of them, the daemon's next ones included."""
    fresh_home = True
    configuration = "parallel = 3\n"

    @only_in("sandbox")
    def test_a_script_that_takes_every_inotify_instance_keeps_nobody_from_running_watching_or_cancelling(self):
        greedy = self.detach_gated("""\
            import ctypes
            libc = ctypes.CDLL(None)
            taken = []
            while len(taken) < 100_000:
                taken.append(libc.inotify_init1(0))
                if taken[-1] < 0: break
            tell("taken", str(len(taken)))
            await_("never")
            """)
        self.assertGreater(int(self.await_gate("taken")), 1)
        self.home.kill_daemon()
        self.assertEqual(self.show(greedy)["status"], "Running")
        self.assertEqual(self.submit_python("print('others run')\n").text, "others run\n")
        followed = self.detach_gated("print('first', flush=True); tell('said'); await_('go')\nimport runner; runner.log('loss', 0.5)\nprint('second')")
        self.await_gate("said")
        self.until_status(followed, "Running")
        logs = self.home.background("logs", "-f", followed)
        self.open_gate("go")
        self.assertEqual(self.wait(followed)["metrics"], {"loss": 0.5})
        self.assertEqual(logs.finish(30).text, "first\nsecond\n")
        self.ok("run", "cancel", greedy)
        self.assertEqual(self.wait(greedy, code=130)["status"], "Canceled")
        self.home.assert_nothing_left()


if settings.USER == "root":
    del AllWatches  # what else root runs on this machine needs some
