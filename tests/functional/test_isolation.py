"""The wall around a run: what is invisible, what is read-only, the network, --mount, and the hint for a hidden path."""
import os
import socket
import stat
import threading

from support import settings
from support.case import RunnerTest
from support.settings import only_in


class Wall(RunnerTest):
    def seen(self, *paths):
        """Which of the paths exist for a run."""
        facts = self.python_facts("facts['seen'] = [p for p in %r if os.path.lexists(p)]" % (list(paths),))
        return facts["seen"]

    def home_file(self):
        path = os.path.join(self.account.home, "private-" + self.home.token)
        self.home.write(path, "private")
        self.addCleanup(os.remove, path)
        return path

    def test_files_in_the_home_directory_are_invisible(self):
        path = self.home_file()
        self.assertTrue(os.path.exists(path))
        self.assertEqual(self.seen(path), [])

    def test_the_data_directory_other_runs_and_the_control_socket_are_invisible(self):
        self.detach_gated("tell('running')\nawait_('go')\n")
        other = self.show()["runId"]
        self.await_gate("running")
        paths = [self.home.data, self.home.data + "/runner.db", self.home.data + "/control.sock", self.home.run_directory(other)]
        self.assertEqual([p for p in paths if not os.path.exists(p)], [])
        self.open_gate("go")
        self.wait(other)
        self.assertEqual(self.seen(*paths), [])

    def test_neighbours_of_the_source_directory_are_invisible(self):
        neighbour = self.home.new_project()
        self.home.write(neighbour + "/x", "")
        self.assertEqual(self.seen(neighbour, neighbour + "/x", self.home.config), [])

    def test_the_bind_of_an_ancestor_still_hides_the_data_directory(self):
        facts = self.python_facts("facts['data'] = os.listdir('/up/data') if os.path.exists('/up/data') else []",
                                  "--mount", self.home.base + ":/up")
        self.assertEqual(facts["data"], [])

    def test_secrets_of_the_machine_cannot_be_read(self):
        facts = self.python_facts("""\
            def content(path):
                try:
                    return len(os.listdir(path)) if os.path.isdir(path) else len(open(path, "rb").read())
                except OSError:
                    return 0
            facts["read"] = {p: content(p) for p in ("/etc/shadow", "/etc/gshadow", "/etc/ssl/private", "/proc/kcore", "/root")}
            """)
        if self.account.uid == 0:
            facts["read"].pop("/root")  # the account's own private home
        self.assertEqual([path for path, size in facts["read"].items() if size], [])

    def test_the_system_is_read_only(self):
        places = ["/sys", "/proc/sys/kernel/core_pattern", "/run/runner-python"]
        if settings.ISOLATION == "sandbox":  # an image's own files are the container's
            places += ["/usr", "/etc", "/opt", "/usr/lib", "/"]
        facts = self.python_facts("""\
            facts["written"] = []
            for place in %r:
                try:
                    target = place if os.path.isfile(place) else place + "/x"
                    open(target, "a").close()
                    if os.path.isfile(place):
                        open(target, "r+").write("x")
                    facts["written"].append(place)
                except OSError:
                    pass
            """ % places)
        self.assertEqual(set(facts["written"]) - {"/"}, set())

    def test_new_namespaces_and_mounts_are_refused(self):
        facts = self.python_facts("""\
            import ctypes
            libc = ctypes.CDLL(None, use_errno=True)
            facts["unshare"] = libc.unshare(0x10000000)
            facts["mount"] = libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)
            """)
        self.assertEqual(facts, {"unshare": -1, "mount": -1})

    @only_in("sandbox")  # the Engine's own filter allows it
    def test_tracing_is_refused(self):
        facts = self.python_facts("""\
            import ctypes
            facts["ptrace"] = ctypes.CDLL(None, use_errno=True).ptrace(0, 0, 0, 0)
            """)
        self.assertEqual(facts, {"ptrace": -1})

    @only_in("sandbox")  # an engine on cgroup v1 shows them, read-only: see the system's test
    def test_the_cgroups_of_the_host_are_hidden(self):
        facts = self.python_facts("""\
            found = []
            for directory, names, files in os.walk("/sys/fs/cgroup"):
                found += [f for f in files if f == "cgroup.procs"]
            facts["found"] = found
            """)
        self.assertEqual(facts["found"], [])

    def test_the_data_directory_and_the_socket_belong_to_their_owner_alone(self):
        self.runs()
        for path, mode in ((self.home.data, 0o700), (self.home.data + "/control.sock", 0o600)):
            info = os.stat(path)
            self.assertEqual((stat.S_IMODE(info.st_mode), info.st_uid), (mode, self.account.uid), path)


class Network(RunnerTest):
    CONNECT = """\
        import socket
        try:
            socket.create_connection(("127.0.0.1", %d), 5).close()
            facts["connected"] = True
        except OSError:
            facts["connected"] = False
        """

    def setUp(self):
        super().setUp()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.server.close)
        self.code = self.CONNECT % self.server.getsockname()[1]

    def test_with_the_network_off_not_even_the_hosts_loopback_answers(self):
        self.assertFalse(self.python_facts(self.code, "--network", "off")["connected"])

    def test_with_the_network_on_the_hosts_loopback_answers(self):
        accepted = threading.Thread(target=self.server.accept, daemon=True)
        accepted.start()
        self.assertTrue(self.python_facts(self.code)["connected"])

    def test_with_the_network_off_a_server_inside_the_run_still_works(self):
        facts = self.python_facts("""\
            import socket
            server = socket.create_server(("127.0.0.1", 0))
            client = socket.create_connection(server.getsockname())
            client.sendall(b"x")
            facts["got"] = server.accept()[0].recv(1).decode()
            """, "--network", "off")
        self.assertEqual(facts["got"], "x")


class Mounts(RunnerTest):
    def shared(self):
        directory = self.home.new_project()
        self.home.write(directory + "/data.txt", "host data")
        return directory

    WRITE = """\
        facts["read"] = open("/shared/data.txt").read()
        try:
            open("/shared/new.txt", "w").write("from the run")
            facts["wrote"] = True
        except OSError as error:
            facts["wrote"] = error.errno
        """

    def test_a_mount_is_read_only_unless_it_says_otherwise(self):
        directory = self.shared()
        for suffix in ("", ":ro"):
            with self.subTest(suffix):
                facts = self.python_facts(self.WRITE, "--mount", directory + ":/shared" + suffix)
                self.assertEqual(facts, {"read": "host data", "wrote": 30})  # EROFS
        self.assertFalse(os.path.exists(directory + "/new.txt"))

    def test_a_writable_mount_writes_as_the_user(self):
        directory = self.shared()
        facts = self.python_facts(self.WRITE, "--mount", directory + ":/shared:rw")
        self.assertEqual(facts, {"read": "host data", "wrote": True})
        with open(directory + "/new.txt") as file:
            self.assertEqual(file.read(), "from the run")
        self.assertEqual(os.stat(directory + "/new.txt").st_uid, self.account.uid)

    def test_a_single_file_can_be_mounted(self):
        directory = self.shared()
        facts = self.python_facts("facts['read'] = open('/some/where/file').read()", "--mount", directory + "/data.txt:/some/where/file")
        self.assertEqual(facts["read"], "host data")

    def test_mounts_are_recorded(self):
        directory = self.shared()
        self.submit("--mount", directory + ":/shared", "--command", "true")
        self.assertEqual(self.show()["runDefinition"]["mounts"],
                         [{"source": directory, "target": "/shared", "writable": False}])


class HiddenPaths(RunnerTest):
    def test_a_run_that_fails_on_a_hidden_path_ends_with_a_hint_to_mount_it(self):
        directory = self.home.new_project()
        path = self.home.write(directory + "/train.csv", "1,2\n")
        result = self.submit_python("open(%r)\n" % path, exit_code=1)
        hint = self.show()["error"]["hint"]
        self.assertRegex(hint, r"--mount %s\S*:%s" % (directory, directory))
        self.assertIn("--mount " + directory, result.err)

    def test_the_hint_is_followed_with_success(self):
        directory = self.home.new_project()
        path = self.home.write(directory + "/train.csv", "1,2\n")
        self.submit_python("print(open(%r).read())\n" % path, "--mount", path + ":" + path)

    def test_a_path_that_exists_nowhere_gives_no_hint(self):
        self.submit_python("open('/no/such/file/anywhere')\n", exit_code=1)
        self.assertIsNone(self.show()["error"]["hint"])
