"""A hostile script tries to get out of its run: files, sockets, processes, the kernel (support/escape_attempts.py)."""
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import textwrap
import unittest

from support import processes, program, settings
from support.case import RunnerTest
from support.settings import only_in

REFUSED = ("EPERM", "ENOSYS", "EACCES")
ABSENT = ("ENOENT", "ENOTDIR", "EACCES", "ENXIO", "ELOOP")
X86_64 = os.uname().machine == "x86_64"

# What the Engine's own filter allows, where the kernel's checks stand alone: tracing within the run (its pid namespace holds
# nobody else's processes), names of its own files, calls that need a capability for anything that matters. Engines before
# 25 allow io_uring (docs/security.md).
ALLOWED_BY_THE_ENGINE = {"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "name_to_handle_at", "sysfs", "ustat",
                         "vmsplice", "personality", "migrate_pages", "move_pages", "modify_ldt",
                         "io_uring_setup", "io_uring_enter", "io_uring_register"}


# Younger than many a libseccomp: one that does not know the name makes no rule of it, and the kernel's own checks stand alone.
YOUNG = {"open_tree_attr"}


def denied_by_the_sandbox():
    """The names in runner/exec/seccomp.cpp, so that the list is tried as it is."""
    with open(os.path.join(settings.SOURCE_ROOT, "runner/exec/seccomp.cpp")) as file:
        listed = file.read().split("kDenied{", 1)[1].split("};", 1)[0]
    return re.findall(r'"(\w+)"', listed)


def has_scopes():
    """Whether this kernel's Landlock can scope abstract sockets (interface 6, Linux 6.12)."""
    import ctypes
    return ctypes.CDLL(None).syscall(444, None, 0, 1) >= 6


class Attempts(RunnerTest):
    """One run tries everything; every test looks at another part of what it met."""

    configuration = "parallel = 4\n"  # a run that is somebody else's beside it

    @classmethod
    def listening(cls, address, kind=socket.SOCK_STREAM):
        server = socket.socket(socket.AF_UNIX, kind)
        server.bind(address)
        if kind == socket.SOCK_STREAM:
            server.listen()
        cls.addClassCleanup(server.close)
        if not address.startswith("\0"):
            os.chmod(address, 0o777)
        return address

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        case = cls.for_the_class()
        token = cls.home.token
        private = os.path.join(case.account.home, "private-" + token)
        cls.home.write(private, "private")
        cls.addClassCleanup(os.remove, private)
        neighbour = cls.home.write(cls.home.new_project() + "/neighbour", "x")
        other = case.detach_gated("os.mkdir('outputs')\nopen('outputs/model', 'w').write('x')\nopen('/tmp/scratch', 'w').write('x')\n"
                                  "tell('running')\nawait_('go')\n")
        case.await_gate("running")
        directory = cls.home.run_directory(other)
        cls.agent = cls.listening(cls.home.base + "/agent.sock")
        cls.bus = cls.listening(cls.home.base + "/bus.sock")
        sockets = [cls.home.data + "/control.sock", directory + "/exec.sock", cls.agent, cls.bus, "/run/docker.sock", "/var/run/docker.sock",
                   "/run/dbus/system_bus_socket", "/run/systemd/private", "/run/containerd/containerd.sock"]
        if cls.home.engine:
            sockets.append(cls.home.engine.socket)
        abstract = cls.listening("\0runner-" + token)[1:]
        datagram = cls.listening("\0runner-d-" + token, socket.SOCK_DGRAM)[1:]
        sleeper = subprocess.Popen(["sleep", "600"], **case.account.popen_options())
        cls.addClassCleanup(lambda: (sleeper.kill(), sleeper.wait()))
        init = os.path.join(program.bin_directory(), "runner-init")
        programs = [init, "/run/runner-init", shutil.which("crun") or "/usr/bin/crun", "/usr/sbin/runc", "/usr/bin/runc", os.path.realpath(settings.PYTHON)]
        with open(init, "rb") as file:
            before = hashlib.sha256(file.read()).digest()
        files = [private, neighbour, cls.home.data, cls.home.data + "/runner.db", directory, directory + "/upper/outputs/model",
                 directory + "/tmp/scratch", cls.home.config, case.gate]
        targets = {"token": token, "files": files, "sockets": sockets, "abstract": [abstract], "datagram": datagram,
                   "variables": ["SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS", "DOCKER_HOST", "RUNNER_HOME", "XDG_RUNTIME_DIR"],
                   "pids": [cls.home.daemon_pid(), processes.shim_of(other).pid, processes.init_of(other).pid, sleeper.pid, os.getpid()],
                   "programs": programs, "denied": denied_by_the_sandbox() if X86_64 else [],
                   "kernel files": ["/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/drop_caches",
                                    "/proc/sys/kernel/hostname", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/fs/binfmt_misc/register",
                                    "/sys/kernel/uevent_helper", "/sys/power/state", "/proc/self/attr/current", "/proc/acpi/wakeup", "/proc/mtrr"]}
        case.write("escape.py", open(os.path.join(settings.SOURCE_ROOT, "tests/functional/support/escape_attempts.py")).read())
        case.write("targets.json", json.dumps(targets))
        answer = case.submit("escape.py", environment={"SSH_AUTH_SOCK": cls.agent, "DBUS_SESSION_BUS_ADDRESS": "unix:path=" + cls.bus,
                                                       "XDG_RUNTIME_DIR": cls.home.base})
        cls.found = json.loads(answer.text.splitlines()[-1])
        cls.targets = targets
        with open(init, "rb") as file:
            cls.init_unchanged = hashlib.sha256(file.read()).digest() == before
        cls.alive_after = [pid for pid in targets["pids"] if os.path.exists("/proc/%d" % pid)]
        case.open_gate("go")
        cls.victim = case.wait(other)

    def assert_all(self, met, allowed):
        self.assertEqual({name: error for name, error in met.items() if error not in allowed}, {})

    # --- what a script starts with

    def test_it_inherits_its_three_standard_descriptors_and_none_of_the_runtimes(self):
        descriptors = {int(fd): link for fd, link in self.found["descriptors"].items()}
        for fd in [fd for fd, link in descriptors.items() if link.endswith("escape.py")]:  # the interpreter reads the script
            del descriptors[fd]
        self.assertEqual(sorted(descriptors), [0, 1, 2])
        self.assertEqual(descriptors[0], "/dev/null")
        self.assertEqual({descriptors[1], descriptors[2]}, {"/run/runner/log"})

    def test_it_has_no_terminal_to_type_into(self):
        error, terminals = self.found["terminal"]
        self.assertIn(error, ABSENT)
        self.assertEqual(terminals, [False] * 3)

    def test_it_has_no_capabilities_no_way_to_new_ones_and_a_filter(self):
        status = self.found["status"]
        self.assertEqual({status[name] for name in status if name.startswith("Cap")}, {"0000000000000000"})
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))

    def test_addresses_of_the_users_agents_are_not_passed_on(self):
        self.assertEqual(self.found["variables"], [])

    # --- files and sockets

    def test_files_of_the_user_the_data_directory_and_other_runs_cannot_be_read(self):
        self.assertEqual([path for path in self.targets["files"] if not os.path.exists(path) and "/runs/" not in path], [])
        self.assert_all(self.found["files"], ABSENT)
        self.assertEqual(self.found["through"], [])

    def test_no_socket_of_the_host_can_be_reached_by_its_path(self):
        self.assert_all(self.found["sockets"], ABSENT)

    def test_no_abstract_socket_of_the_host_can_be_reached_though_the_network_is_shared(self):
        rows = {row["name"]: row for row in self.ok("doctor", "--json").json["items"]}
        self.assertEqual(rows["abstract sockets"]["works"], has_scopes())  # else a stated weakness
        if has_scopes():
            self.assertEqual(set(self.found["abstract"].values()) | {self.found["datagram"]}, {"EPERM"})
        self.assertEqual(self.found["own abstract"], "")

    # --- processes

    def test_processes_outside_are_not_seen_and_cannot_be_signalled(self):
        self.assertGreaterEqual(self.found["outside"], 3)  # a number may mean a process of the run itself
        self.assertEqual(set(self.found["signals"]) | set(self.found["groups"]), {"ESRCH"})
        self.assertEqual([line for line in self.found["processes"] if "runnerd" in line or "sleep" in line], [])
        self.assertEqual(self.alive_after, self.targets["pids"])
        self.assertEqual(self.victim["status"], "Completed")

    def test_init_cannot_be_read_traced_or_robbed_of_its_descriptors(self):
        self.assertEqual([error for error in self.found["init memory"] if error not in REFUSED + ("ENOENT", "EROFS")], [])
        for what in ("init traced", "init read", "init descriptor"):
            self.assertIn(self.found[what], REFUSED, what)

    def test_no_program_of_ours_or_of_the_system_can_be_written(self):
        allowed = ABSENT + ("EROFS", "EPERM", "ETXTBSY")
        met = dict(self.found["program"])
        if settings.ISOLATION == "docker":  # the image's, gone with the container
            met.pop(os.path.realpath(settings.PYTHON), None)
        self.assert_all(met, allowed)
        self.assertTrue(self.init_unchanged)

    # --- the kernel

    def test_every_denied_call_is_refused_whatever_its_arguments(self):
        if not X86_64:
            self.skipTest("the numbers are x86-64's")
        met = dict(self.found["denied"])
        self.assertGreater(len(met), 50)
        for name in YOUNG:
            self.assertIn(met.pop(name), ("EPERM", "ENOSYS", "EFAULT"))  # EFAULT: the kernel looked for a path
        if settings.ISOLATION == "docker":
            for name in ALLOWED_BY_THE_ENGINE:
                met.pop(name, None)
        self.assert_all(met, ("EPERM", "ENOSYS"))

    def test_new_namespaces_are_refused_by_every_door(self):
        for door in ("unshare", "clone"):
            self.assert_all(self.found[door], REFUSED)
        self.assertIn(self.found["clone3"], REFUSED)
        self.assertEqual([error for error in self.found["setns"] if error not in REFUSED], [])

    def test_nothing_can_be_mounted_and_no_device_made(self):
        self.assertEqual([error for error in self.found["mount"] + self.found["nodes"] if error not in REFUSED], [])
        harmless = {"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "pts", "shm", "mqueue", "fd", "stdin", "stdout", "stderr", "core"}
        self.assertEqual(set(self.found["devices"]) - harmless, set())

    def test_the_kernels_keys_cannot_be_reached(self):
        self.assertEqual([error for error in self.found["keys"] if error not in REFUSED], [])

    @only_in("sandbox")
    def test_nothing_can_be_typed_into_a_terminal(self):
        self.assertEqual(self.found["typed"], [1, 1])  # EPERM

    @only_in("sandbox")
    def test_sockets_that_no_network_namespace_holds_are_refused(self):
        self.assertEqual(self.found["unscoped sockets"], ["EPERM"] * 2)  # the audit's, the hypervisor's

    def test_the_tables_of_other_architectures_are_no_way_around_the_filter(self):
        if not X86_64:
            self.skipTest("x86-64's other tables")
        if settings.ISOLATION == "sandbox":
            self.assertLess(self.found["i386"], 0)  # killed
            self.assertLess(self.found["x32"], 0)
        else:
            self.assertNotEqual(self.found["i386"], 0)
            self.assertNotEqual(self.found["x32"], 0)

    def test_nothing_of_proc_and_sys_can_be_written(self):
        self.assertIn("/proc/sys/kernel/core_pattern", self.found["reachable"])
        written = self.found["written"]
        self.assertEqual(written, [])

    def test_it_starts_as_the_kernels_first_choice_when_memory_is_short_and_cannot_become_its_last(self):
        score, *lowered = self.found["score"]
        self.assertGreaterEqual(score, 800)
        self.assertEqual([error for error in lowered if error not in REFUSED], [])

    def test_the_kernels_memory_and_messages_cannot_be_read(self):
        met = dict(self.found["kernel memory"])
        met.pop("/proc/kcore")  # masked: reads as empty (test_isolation)
        self.assert_all(met, ABSENT + REFUSED)


class Command(RunnerTest):
    def test_a_command_of_run_exec_is_behind_the_same_wall_and_reaches_the_script(self):
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        name = "runner-exec-" + self.home.token
        listener.bind("\0" + name)
        listener.listen()
        run_id = self.detach_gated("import signal\nsignal.signal(signal.SIGUSR1, lambda *_: tell('signalled'))\ntell('running', str(os.getpid()))\nawait_('go')\n")
        pid = self.await_gate("running")
        code = """
import errno, json, os, signal, socket
met = ""
try:
    socket.socket(socket.AF_UNIX).connect(chr(0) + %r)
except OSError as error:
    met = errno.errorcode[error.errno]
fds = [int(fd) for fd in os.listdir("/proc/self/fd") if os.path.lexists("/proc/self/fd/" + fd)]
os.kill(%s, signal.SIGUSR1)
status = dict(line.split(":\t", 1) for line in open("/proc/self/status") if ":\t" in line)
print(json.dumps([met, sorted(fds), status["NoNewPrivs"].strip(), status["CapEff"].strip(), status["Seccomp"].strip()]))
""" % (name, pid)
        met, fds, *privileges = json.loads(self.ok("run", "exec", run_id, "--", "python3", "-c", code).text)
        self.assertEqual((fds, privileges), ([0, 1, 2], ["1", "0" * 16, "2"]))
        if has_scopes():
            self.assertEqual(met, "EPERM")
        self.await_gate("signalled")
        self.open_gate("go")
        self.wait(run_id)


class Traced(RunnerTest):
    def test_a_script_that_makes_init_its_tracer_ends_as_it_does(self):
        self.submit_python("""\
            import ctypes, os, signal
            ctypes.CDLL(None).ptrace(0, 0, 0, 0)  # refused in the sandbox
            signal.signal(signal.SIGUSR1, lambda *_: print("goes on", flush=True))
            os.kill(os.getpid(), signal.SIGUSR1)
            os.execvp("sh", ["sh", "-c", "exit 7"])
            """, exit_code=7)
        self.assertEqual(self.log(), b"goes on\n")
        outcome = self.show()["outcome"]
        self.assertEqual((outcome["kind"], outcome["exitCode"]), ("exited", 7))


class Documented(unittest.TestCase):
    def test_the_page_about_the_filter_names_every_call_that_it_denies_and_no_other(self):
        with open(os.path.join(settings.SOURCE_ROOT, "docs/sandbox-filter.md")) as file:
            table = file.read().split("| calls | why |", 1)[1].split("\n\n", 1)[0]
        named = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
        self.assertEqual(sorted(named), sorted(denied_by_the_sandbox()))
        self.assertEqual(len(named), len(set(named)))


class SetUserId(RunnerTest):
    LEAVE = textwrap.dedent("""\
        import os, shutil
        os.makedirs("outputs")
        for place in ("outputs/shell", "/tmp/shell", "beside"):
            shutil.copy("/bin/sh", place)
            os.chmod(place, 0o6755)
        os.mkdir("outputs/open")
        os.chmod("outputs/open", 0o7777)
        """)

    def test_a_setuid_file_is_behind_the_data_directorys_wall_and_loses_its_bits_when_it_is_kept(self):
        run_id = self.detach_gated(self.LEAVE + "tell('written')\nawait_('go')\n")
        self.await_gate("written")
        left = self.home.run_directory(run_id) + "/tmp/shell"
        self.assertTrue(os.stat(left).st_mode & stat.S_ISUID)  # else there is nothing to test
        stranger = 65534
        if os.geteuid() == 0:
            for path in (left, self.home.run_directory(run_id)):
                seen = subprocess.run(["test", "-e", path], user=stranger, group=stranger, extra_groups=[])
                self.assertEqual(seen.returncode, 1, path)
        self.open_gate("go")
        self.wait(run_id)
        directory = self.home.new_project()
        self.ok("run", "download", run_id, "-d", directory)
        for top, names, files in os.walk(directory):
            for name in names + files:
                self.assertEqual(os.stat(os.path.join(top, name)).st_mode & 0o7000, 0, name)
        self.home.assert_nothing_left(run_id)
        for top, _, files in os.walk(self.home.data):
            for name in files:
                mode = os.lstat(os.path.join(top, name)).st_mode
                self.assertFalse(stat.S_ISREG(mode) and mode & 0o6000, os.path.join(top, name))
