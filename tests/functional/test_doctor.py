"""`runner doctor` and the smallest commands: --version, --help."""
import os
import socket
import sqlite3
import subprocess

from support import settings
from support.case import RunnerTest


class Doctor(RunnerTest):
    def test_json_has_a_row_per_check_and_the_sandbox_works_here(self):
        result = self.runner("doctor", "--json")
        items = result.json["items"]
        for row in items:
            self.assertEqual(sorted(row), ["detail", "name", "remedy", "works"])
            self.assertIsInstance(row["works"], bool)
            self.assertTrue(row["name"])
            if row["works"]:
                self.assertEqual(row["remedy"], "")
            else:
                self.assertTrue(row["remedy"], row)
        rows = {row["name"]: row for row in items}
        runtimes = [settings.RUNTIME] if settings.RUNTIME else ["crun", "runc"]
        self.assertTrue(any(rows[name]["works"] for name in runtimes if name in rows), items)
        self.assertTrue(rows["user namespaces"]["works"], rows["user namespaces"])

    def test_for_people_every_check_is_shown(self):
        rows = self.runner("doctor", "--json").json["items"]
        text = self.runner("doctor").text
        for row in rows:
            self.assertIn(row["name"], text)

    def test_what_does_not_work_is_told_with_its_remedy(self):
        home = self.make_home()
        self.addCleanup(home.close)
        home.runtime = "/nonexistent/crun"
        bad = [row for row in home.run("doctor", "--json").json["items"] if not row["works"]]
        self.assertTrue(bad)
        text = home.run("doctor").text
        for row in bad:
            self.assertIn(row["name"], text)
            self.assertIn(row["remedy"].split("\n")[0], " ".join(text.split()) if row["remedy"] not in text else text)

    def engine_row(self, address):
        rows = self.runner("doctor", "--json", environment={"DOCKER_HOST": address}).json["items"]
        return {row["name"]: row for row in rows}["container engine"]

    def test_an_engine_that_is_not_there_or_not_for_this_user_is_told_with_the_way_out(self):
        row = self.engine_row("unix:///nonexistent/docker.sock")
        self.assertFalse(row["works"])
        self.assertIn("/nonexistent/docker.sock", row["detail"])
        self.assertIn("systemctl start docker", row["remedy"])
        row = self.engine_row("tcp://10.0.0.1:2375")
        self.assertFalse(row["works"])
        self.assertIn("only an engine of this machine", row["detail"])
        if self.account.uid == 0:
            return  # nothing is forbidden to root
        path = self.home.base + "/docker.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            os.chmod(path, 0o600)  # root's
            row = self.engine_row("unix://" + path)
        self.assertFalse(row["works"])
        self.assertIn("Permission denied", row["detail"])
        self.assertIn("rootless", row["remedy"])

    def test_version_and_help_need_no_daemon(self):
        home = self.make_home()
        self.addCleanup(home.close)
        self.assertRegex(home.run("--version").text, r"^runner \d+\.\d+\.\d+\n$")
        for arguments in (["--help"], ["submit", "--help"], ["run", "list", "--help"]):
            result = home.run(*arguments)
            self.assertEqual(result.code, 0, result.describe())
            self.assertIn("runner", result.text)
        self.assertIsNone(home.daemon_pid())


class Places(RunnerTest):
    """Where the data directory is."""
    fresh_home = True

    def mount(self, kind, options):
        os.mkdir(self.home.data, 0o700)
        subprocess.run(["mount", "-t", kind, "-o", options, kind, self.home.data], check=True)
        self.account.own(self.home.data)

    def row(self, name):
        return {row["name"]: row for row in self.ok("doctor", "--json").json["items"]}[name]

    def test_a_good_place(self):
        kind = subprocess.run(["stat", "-f", "-c", "%T", self.home.base], capture_output=True, text=True, check=True).stdout.strip()
        if kind in ("tmpfs", "overlayfs"):
            self.skipTest("/tmp is no disk here")
        row = self.row("file system")
        self.assertTrue(row["works"], row)
        self.assertIn(self.home.data, row["detail"])

    def test_memory_is_told_by_doctor_and_by_the_daemon(self):
        self.mount("tmpfs", "mode=700")
        row = self.row("file system")
        self.assertFalse(row["works"])
        self.assertIn("tmpfs", row["detail"])
        self.assertIn("next reboot", row["detail"])
        self.assertIn("--home", row["remedy"])
        self.assertIn("next reboot", self.home.daemon_log())

    def test_an_overlay_takes_no_runs_upper_layer(self):
        layers = self.home.base + "/layers"
        for name in ("", "/lower", "/upper", "/work"):
            os.mkdir(layers + name)
        self.mount("overlay", "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work" % (layers, layers, layers))
        row = self.row("file system")
        self.assertFalse(row["works"])
        self.assertIn("overlay", row["detail"])
        self.assertIn("volume", row["remedy"])
        self.assertIn("overlayfs", self.home.daemon_log())

    def test_little_room_is_told_in_bytes_and_in_files(self):
        self.mount("tmpfs", "mode=700,size=100m")
        row = self.row("disk")
        self.assertFalse(row["works"])
        self.assertRegex(row["detail"], r"\d+\.\d MiB free")
        self.assertIn("runner gc", row["remedy"])
        self.ok("daemon", "stop")
        subprocess.run(["mount", "-o", "remount,size=2g,nr_inodes=900", self.home.data], check=True)
        row = self.row("disk")
        self.assertFalse(row["works"])
        self.assertRegex(row["detail"], r"room for \d+ more files only \(inodes\)")

    def test_a_clock_that_has_stepped_back(self):
        self.submit_python("print('x')\n")
        self.assertTrue(self.row("clock")["works"])
        self.ok("daemon", "stop")
        database = sqlite3.connect(self.home.data + "/runner.db", isolation_level=None, timeout=20)
        trigger = database.execute("SELECT sql FROM sqlite_master WHERE name = 'run_identity_is_immutable'").fetchone()[0]
        database.execute("DROP TRIGGER run_identity_is_immutable")
        database.execute("UPDATE run SET created = created + 86400000000")
        database.execute(trigger)
        database.close()
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(self.home.data + "/runner.db" + suffix):
                self.account.own(self.home.data + "/runner.db" + suffix)
        row = self.row("clock")
        self.assertFalse(row["works"])
        self.assertIn("stepped back", row["detail"])
        self.assertIn("timedatectl", row["remedy"])
