"""Snapshots and the store when the daemon is killed at any point and when the disk is full."""
import os
import random
import subprocess
import threading
import time

from support import processes, settings
from support.store_case import StoreTest

FILES = 3000
KILLS = 24


class Killed(StoreTest):
    def source(self):
        """Many small files and a large one of several pieces, under directories that are trees of their own."""
        generator = random.Random(7)
        source = self.home.new_project("source-" + self.home.token)  # beside the project: no run shall need it
        for number in range(FILES):
            self.write("%s/d%d/e%d/f%d" % (source, number % 11, number % 3, number), generator.randbytes(1500))
        self.write(source + "/large", generator.randbytes(24 << 20))
        return source

    def test_no_half_snapshot_is_ever_visible(self):
        source = self.source()
        other = self.make_home()
        self.addCleanup(other.close)
        begun = time.monotonic()
        result = other.run("snapshot", "create", source, timeout=120)
        duration = time.monotonic() - begun
        self.assertEqual(result.code, 0, result.describe())
        expected = result.text.strip()
        self.submit_python("print('there before')\n")
        rows = self.content("SELECT count(*) FROM content")
        generator = random.Random(int.from_bytes(os.urandom(4), "big"))
        remains = 0
        for number in range(KILLS):
            self.runs()  # a daemon is there
            pid = self.home.daemon_pid()
            size = os.path.getsize(self.home.data + "/content.db-wal")
            creating = self.home.background("snapshot", "create", source)
            if number % 3 == 0:  # as soon as something has been written; else at any moment
                self.spin(lambda: os.path.getsize(self.home.data + "/content.db-wal") != size or creating.process.poll() is not None)
            else:
                self.spin(lambda: creating.process.poll() is not None, generator.random() * duration)
            processes.kill_and_wait(pid)
            done = creating.finish()
            if done.code == 0:
                self.assertEqual(done.text.strip(), expected)
            visible = self.content("SELECT count(*) FROM content WHERE hash = ?", bytes.fromhex(expected))[0][0]
            if not visible:
                self.assertNotEqual(done.code, 0, "acknowledged and gone")
                # Chunks become visible by thousands only when they are durable; without the root none of it is a snapshot.
                self.assertEqual(self.content("SELECT count(*) FROM content"), rows)
            remains += self.content("SELECT count(*) FROM chunk WHERE id NOT IN (SELECT chunk FROM content WHERE chunk NOT NULL)")[0][0]
            if visible or number % 6 == 5:
                self.assert_fsck_clean()
                self.gc()
                self.assertEqual(self.content("SELECT count(*) FROM content"), rows)
                self.assertEqual(self.strays(), 0)
        self.assertGreater(remains, 0, "no kill came while something was written")
        self.assert_fsck_clean()
        self.gc()
        self.assertEqual((self.strays(), self.content("SELECT count(*) FROM content")), (0, rows))
        self.assertEqual(self.create(source), expected)
        self.assert_fsck_clean()
        self.assertEqual(self.log(), b"there before\n")

    def strays(self):
        return self.content("SELECT count(*) FROM chunk WHERE id NOT IN (SELECT chunk FROM content WHERE chunk NOT NULL)")[0][0]

    @staticmethod
    def spin(condition, seconds=20.0):
        """Until the condition holds or the time is over; without a pause, to be at any point."""
        over = threading.Event()
        timer = threading.Timer(seconds, over.set)
        timer.start()
        while not over.is_set() and not condition():
            pass
        timer.cancel()

    def test_a_gc_that_is_killed_has_lost_nothing_and_the_next_one_finishes(self):
        self.write("data.bin", os.urandom(4 << 20))
        self.submit_python("print(len(open('data.bin', 'rb').read()))\n")
        kept = self.content("SELECT count(*) FROM content")
        os.remove(self.project + "/data.bin")
        generator = random.Random(int.from_bytes(os.urandom(4), "big"))
        for number in range(8):
            self.create(self.tree(800, "g%d" % number, size=3000))  # after the run: not in its snapshot
            pid = self.home.daemon_pid()
            collecting = self.home.background("gc")
            self.spin(lambda: collecting.process.poll() is not None, generator.random() * 0.15)
            processes.kill_and_wait(pid)
            collecting.finish()
            self.assert_fsck_clean()
        self.gc()
        self.assertEqual((self.content("SELECT count(*) FROM content"), self.strays()), (kept, 0))
        self.assert_fsck_clean()


class FullDisk(StoreTest):
    MEGABYTES = 80

    def small_home(self):
        os.mkdir(self.home.data, 0o700)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm,uid=%d,gid=%d,mode=700" % (self.MEGABYTES, self.account.uid, self.account.gid),
                               "rt-" + self.home.token, self.home.data], capture_output=True, text=True)
        if done.returncode != 0:
            self.skipTest("no tmpfs can be mounted here: " + done.stderr)
        # self.home.close() unmounts it

    def fill(self, leave):
        """A file that leaves so many bytes free."""
        room = os.statvfs(self.home.data)
        size = max(0, room.f_bavail * room.f_frsize - leave)
        path = self.home.data + "/ballast"
        with open(path, "wb") as file:
            if size:
                os.posix_fallocate(file.fileno(), 0, size)
        self.account.own(path)

    def empty(self):
        os.remove(self.home.data + "/ballast")

    def test_every_command_at_every_level(self):
        self.small_home()
        self.write("main.py", "import os\nprint(len(os.listdir('.')))\n")
        self.write("data.bin", os.urandom(3 << 20))
        self.submit("main.py")
        self.create(self.tree(50, "garbage", size=20000))
        pid = self.home.daemon_pid()
        runs = len(self.runs())
        big = self.tree(60, "big", size=150_000)  # 9 MB
        self.write("big/main.py", "print('big')\n")
        for leave in (0, 100_000, 500_000, 1_000_000, 2_500_000, 4_000_000):
            with self.subTest(leave=leave):
                self.fill(leave)
                failures = 0
                for command in (["submit", *self.isolation_options(), "--detach", "--source-dir", big, "main.py"],
                                ["snapshot", "create", big], ["gc", "--dry-run"], ["fsck"], ["fsck", "--repair"], ["gc"]):
                    result = self.runner(*command, timeout=120)
                    if result.code == 0:
                        runs += command[0] == "submit"
                        continue
                    failures += 1
                    self.assert_error(result, 125, "full")
                self.assertEqual(self.home.daemon_pid(), pid)
                self.assertGreater(failures, 0, "there was room for everything: the test proves nothing")
                self.empty()
                self.assert_fsck_clean()
                self.gc()
                self.assertEqual(len(self.runs()), runs)
        self.assertEqual(self.submit("--source-dir", big, "main.py").text, "big\n")
        self.assertEqual(self.home.daemon_pid(), pid)
        self.assert_fsck_clean()

    def test_a_checkout_that_does_not_fit(self):
        self.small_home()
        self.write("main.py", "print(len(open('zeros', 'rb').read()))\n")
        self.write("zeros", b"abcdefgh" * (2 << 20))  # 16 MB that are nothing in the store
        self.fill(9_000_000)
        pid = self.home.daemon_pid()
        result = self.runner("submit", *self.isolation_options(), "main.py")
        self.assertEqual(result.code, 125, result.describe())
        self.assertRegex(result.err + result.text, "(?i)full|no space")
        self.assertEqual(self.show()["status"], "Failed")
        self.empty()
        self.assertEqual(self.submit("main.py").text, "16777216\n")
        if pid is not None:
            self.assertEqual(self.home.daemon_pid(), pid)
        self.assert_fsck_clean()

    def test_a_gc_makes_room_on_a_full_disk(self):
        self.small_home()
        self.write("main.py", "print('ran')\n")
        self.submit("main.py")
        self.create(self.tree(100, "garbage", size=100_000))
        self.ok("daemon", "stop")  # its WAL is as short as it can be
        self.fill(3_000_000)
        room = os.statvfs(self.home.data)
        report = self.gc()
        self.assertGreater(report["diskBytes"], 8 << 20)
        now = os.statvfs(self.home.data)
        self.assertGreater((now.f_bavail - room.f_bavail) * now.f_frsize, 8 << 20)
        self.assert_fsck_clean()


if settings.USER != "root":
    del FullDisk  # only root can mount a small file system
