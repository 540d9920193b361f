"""What a script sees: variables, standard input, directories, identity, limits."""
import json
import os

from support import settings
from support.case import RunnerTest
from support.settings import only_for, only_in, only_where_limits_work


class Probe(RunnerTest):
    """One run gathers facts; every test looks at another."""

    CODE = """\
        import pwd, resource, tempfile
        facts["environ"] = dict(os.environ)
        facts["stdin"] = sys.stdin.read()
        facts["cwd"] = os.getcwd()
        facts["listing"] = sorted(os.listdir("."))
        facts["ids"] = [os.getuid(), os.geteuid(), os.getgid(), os.getegid()]
        facts["passwd"] = [pwd.getpwuid(os.getuid()).pw_name, os.path.expanduser("~")]
        facts["home"] = os.listdir(os.path.expanduser("~"))
        open(os.path.expanduser("~/written"), "w").write("x")
        with tempfile.NamedTemporaryFile() as file:
            facts["tmp"] = file.name
        facts["encodings"] = [sys.stdout.encoding.lower(), sys.getfilesystemencoding().lower()]
        open("ünï.txt", "w").write("漢")
        facts["umask"] = os.umask(0)
        listing = os.open("/proc/self/fd", os.O_RDONLY)
        facts["descriptors"] = sorted(int(n) for n in os.listdir("/proc/self/fd") if int(n) < listing)
        facts["status"] = dict(line.rstrip("\\n").split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
        facts["pid1"] = open("/proc/1/comm").read().strip()
        facts["processes"] = [name for name in os.listdir("/proc") if name.isdigit()]
        facts["tty"] = os.isatty(1)
        shm = os.statvfs("/dev/shm")
        facts["shm"] = shm.f_frsize * shm.f_blocks
        open("/dev/shm/x", "w").write("x")
        # What the source directory holds is changed in every way.
        open("new.txt", "w").write("new")
        open("kept.txt", "a").write("more")
        os.remove("removed.txt")
        os.chmod("main.py", 0o700)
        open("folder/inner.txt", "w").write("changed")
        import multiprocessing
        with multiprocessing.Pool(2) as pool:
            facts["pool"] = pool.map(abs, [-1, -2])
        """

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        case = cls.for_the_class()
        cls.source = case.project
        case.write("kept.txt", "kept")
        case.write("removed.txt", "removed")
        case.write("folder/inner.txt", "inner")
        case.write("main.py", "")
        cls.before = None
        environment = {"SECRET_TOKEN": "s3cret", "TZ": "Europe/Berlin", "LC_TIME": "C.UTF-8", "PASSED": "from the caller",
                       "PYTHONPATH": "/nowhere", "LD_PRELOAD": ""}
        code = "import json, os, sys\nfacts = {}\n" + __import__("textwrap").dedent(cls.CODE) + "\nprint(json.dumps(facts))\n"
        case.write("main.py", code)
        cls.before = cls.state()
        result = case.submit("-E", "GIVEN=a=b c", "-E", "PASSED", "-E", "EMPTY=", "main.py", environment=environment)
        cls.after = cls.state()
        cls.facts = json.loads(result.text.splitlines()[-1])
        cls.document = case.show()

    @classmethod
    def state(cls):
        found = {}
        for directory, _, files in os.walk(cls.source):
            for name in files:
                path = os.path.join(directory, name)
                info = os.stat(path)
                found[os.path.relpath(path, cls.source)] = (open(path, "rb").read(), info.st_mode, info.st_mtime_ns, info.st_uid)
        return found

    def test_the_run_is_named_for_us_and_for_azure_scripts(self):
        variables = self.facts["environ"]
        self.assertEqual(variables["RUNNER_RUN_ID"], self.document["runId"])
        self.assertEqual(variables["AZUREML_RUN_ID"], self.document["runId"])
        self.assertEqual(variables["RUNNER_EXPERIMENT"], self.document["experiment"])
        self.assertEqual(variables["AZUREML_ARM_PROJECT_NAME"], self.document["experiment"])

    def test_output_is_unbuffered_and_text_is_utf8(self):
        self.assertEqual(self.facts["environ"]["PYTHONUNBUFFERED"], "1")
        self.assertRegex(self.facts["environ"]["LANG"], "(?i)utf-?8")
        self.assertEqual(self.facts["encodings"], ["utf-8", "utf-8"])

    def test_given_variables_arrive_and_are_recorded(self):
        given = {"GIVEN": "a=b c", "PASSED": "from the caller", "EMPTY": ""}
        self.assertEqual({name: self.facts["environ"].get(name) for name in given}, given)
        self.assertEqual(self.document["runDefinition"]["environmentVariables"], given)

    def test_of_the_callers_variables_only_language_and_time_zone_pass(self):
        variables = self.facts["environ"]
        self.assertEqual((variables.get("TZ"), variables.get("LC_TIME")), ("Europe/Berlin", "C.UTF-8"))
        self.assertNotIn("SECRET_TOKEN", variables)
        self.assertNotIn("s3cret", json.dumps(variables))
        self.assertNotIn("s3cret", json.dumps(self.document))
        self.assertNotIn("/nowhere", variables.get("PYTHONPATH", ""))
        self.assertNotIn("RUNNER_HOME", variables)
        self.assertNotIn("XDG_CONFIG_HOME", variables)

    def test_standard_input_is_at_its_end_and_output_is_no_terminal(self):
        self.assertEqual(self.facts["stdin"], "")
        self.assertFalse(self.facts["tty"])

    def test_the_working_directory_is_the_snapshot_and_writable(self):
        self.assertEqual(self.facts["listing"], ["folder", "kept.txt", "main.py", "removed.txt"])
        self.assertEqual(self.facts["cwd"], self.source)

    def test_nothing_the_script_did_reached_the_source_directory(self):
        self.assertEqual(self.before, self.after)

    def test_the_script_has_the_callers_uid_and_gid(self):
        uid, gid = self.account.uid, self.account.gid
        if settings.RUNTIME == "runc":  # a user namespace of runc's knows only uid 0, which is the caller outside
            uid = gid = 0
        self.assertEqual(self.facts["ids"], [uid, uid, gid, gid])

    def test_the_uid_has_a_name_and_the_home_is_the_accounts(self):
        name = "root" if settings.RUNTIME == "runc" else self.account.name
        self.assertEqual(self.facts["passwd"], [name, self.account.home])
        for variable in ("USER", "LOGNAME"):
            self.assertEqual(self.facts["environ"][variable], self.account.name)

    def test_the_home_is_private_and_empty_and_nothing_stays_of_it(self):
        self.assertEqual(self.facts["home"], [])
        self.assertFalse(os.path.exists(os.path.join(self.account.home, "written")))

    def test_shared_memory_is_half_of_the_machine(self):
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self.assertAlmostEqual(self.facts["shm"] / total, 0.5, delta=0.02)

    def test_multiprocessing_works(self):
        self.assertEqual(self.facts["pool"], [1, 2])

    def test_only_the_three_standard_descriptors_are_open(self):
        self.assertEqual(self.facts["descriptors"], [0, 1, 2])

    def test_there_are_no_capabilities_and_no_new_privileges_and_a_filter(self):
        status = self.facts["status"]
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            self.assertEqual(int(status[name], 16), 0, name)
        self.assertEqual(int(status["CapBnd"], 16), 0)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Seccomp"], "2")

    def test_pid_one_is_ours_and_no_process_of_the_host_is_seen(self):
        self.assertEqual(self.facts["pid1"], "runner-init")
        self.assertLess(len(self.facts["processes"]), 5)

    def test_the_mask_is_the_usual_one(self):
        self.assertEqual(self.facts["umask"], 0o022)


class Limits(RunnerTest):
    def test_shm_size_is_exactly_what_was_asked_for(self):
        facts = self.python_facts("s = os.statvfs('/dev/shm'); facts['shm'] = s.f_frsize * s.f_blocks", "--shm-size", "64m")
        self.assertEqual(facts["shm"], 64 << 20)

    def test_two_runs_share_neither_home_nor_tmp_nor_working_directory(self):
        code = """\
            places = ["seen.txt", "/tmp/seen.txt", "/var/tmp/seen2.txt", os.path.expanduser("~/seen.txt"), "/dev/shm/seen"]
            facts["seen"] = [place for place in places if os.path.exists(place)]
            for place in places:
                open(place, "w").close()
            """
        self.assertEqual(self.python_facts(code)["seen"], [])
        self.assertEqual(self.python_facts(code)["seen"], [])

    @only_where_limits_work
    def test_a_run_over_its_memory_ends_out_of_memory_with_137(self):
        self.submit_python("x = bytearray(300 << 20)\n", "--memory", "64m", exit_code=137)
        run = self.show()
        self.assertEqual((run["status"], run["outcome"]["kind"]), ("Failed", "out_of_memory"))
        self.assertIn("--memory", run["error"]["hint"])

    @only_where_limits_work
    def test_shared_memory_is_half_of_the_runs_own_memory(self):
        facts = self.python_facts("s = os.statvfs('/dev/shm'); facts['shm'] = s.f_frsize * s.f_blocks", "--memory", "256m")
        self.assertEqual(facts["shm"], 128 << 20)

    @only_where_limits_work
    def test_the_number_of_processes_is_limited(self):
        result = self.submit_python("""\
            import subprocess
            started = []
            try:
                for _ in range(50):
                    started.append(subprocess.Popen(["sleep", "60"]))
            except OSError as error:
                print("refused", len(started) < 20)
            """, "--pids", "20")
        self.assertEqual(result.text, "refused True\n")

    @only_where_limits_work
    def test_the_processor_time_is_limited(self):
        facts = self.python_facts("""\
            import time
            begin, used = time.monotonic(), time.process_time()
            while time.monotonic() < begin + 1:
                pass
            facts["used"] = time.process_time() - used
            """, "--cpus", "0.25")
        self.assertLess(facts["used"], 0.6)

    @only_in("sandbox")
    @only_for("ordinary")
    def test_a_limit_that_cannot_be_enforced_here_is_an_error_and_no_run(self):
        self.write("main.py", "pass\n")
        before = self.runs()
        for option in (("--memory", "64m"), ("--pids", "20"), ("--cpus", "0.5")):
            with self.subTest(option):
                self.assert_error(self.runner("submit", *option, "main.py"), 125, option[0].lstrip("-"))
        self.assert_no_new_run(before)

    @only_in("sandbox")
    @only_for("ordinary")
    def test_or_is_left_out_on_request_which_is_recorded(self):
        self.write("main.py", "print(len(bytearray(100 << 20)))\n")
        result = self.submit("--best-effort-limits", "--memory", "64m", "--cpus", "0.5", "main.py")
        self.assertEqual(result.text, "%d\n" % (100 << 20))
        self.assertIn("runner: warning: --memory is not enforced: cannot be enforced here: ", result.err)
        run = self.show()
        self.assertEqual(run["runDefinition"]["limitsNotEnforced"], ["--memory", "--cpus"])
        self.assertEqual((run["runDefinition"]["memoryBytes"], run["runDefinition"]["bestEffortLimits"]), (64 << 20, True))
        self.assertEqual(len(run["notices"]), 2)
        self.ok("run", "rerun", "@last")

    @only_where_limits_work
    def test_where_it_can_be_enforced_it_is(self):
        self.submit_python("x = bytearray(300 << 20)\n", "--best-effort-limits", "--memory", "64m", exit_code=137)
        self.assertEqual((self.show()["runDefinition"]["limitsNotEnforced"], self.show()["notices"]), ([], []))
