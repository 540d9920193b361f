"""What a script says of its run costs the daemon no more than it is worth: no file, no metric and no question holds up others."""
import json
import os

from support import settings
from support.driver_case import DriverTest
from support.program import Background
from support.waiting import wait_until

_MIB = 1 << 20


class Bounds(DriverTest):
    def peak_kib(self):
        with open("/proc/%d/status" % self.home.daemon_pid()) as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))

    def background_curl(self, *arguments):
        started = Background(["curl", "-sS", "--unix-socket", self.home.data + "/control.sock", *arguments], self.account, self.project,
                             self.home.environment())
        self.home.held(started)
        return started

    def test_a_file_that_grows_while_it_is_read_holds_up_nobody(self):
        run = self.detach_gated("""
            journal = os.open(os.environ["RUNNER_METRICS"], os.O_WRONLY | os.O_APPEND)
            with open("/run/runner/artifacts/big", "wb") as file:
                for _ in range(100):
                    file.write(os.urandom(1 << 20))
            os.write(journal, b'\\x1e{"artifact": "big", "bytes": 104857600, "time": 1700000000000000}\\n')
            for _ in range(200):
                if os.stat("/run/runner/artifacts/big").st_size == 0: break
                os.truncate("/run/runner/artifacts/big", 1 << 42)
                time.sleep(0.001)
            os.write(journal, b'\\x1e{"metric": "after", "value": 1, "time": 1700000000000000}\\n')
            tell("grown")
            await_("end")
            """)
        self.await_gate("grown")
        wait_until(lambda: self.show(run)["metrics"].get("after") == 1, "what comes after the file is taken in")
        self.open_gate("end")
        self.wait(run)
        self.submit_python("print('another one')\n")

    def test_a_daemon_that_is_asked_to_stop_does_not_read_a_large_file_to_its_end(self):
        run = self.detach_gated('tell("ready")\nawait_("end")\n')
        self.await_gate("ready")
        large = os.path.join(self.home.base, "large")
        self.home.write(large, "")
        with open(large, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, 3 << 30)  # has its blocks, so it is not sparse
        body = self.home.write(self.home.base + "/body.json", json.dumps({"name": "large", "path": large}))
        upload = self.background_curl("-d", "@" + body, "http://localhost/v1/runs/%s/artifacts" % run)

        def read_bytes():
            with open("/proc/%d/io" % self.home.daemon_pid()) as file:
                return int(file.readline().split()[1])
        before = read_bytes()
        wait_until(lambda: read_bytes() - before > 100 * _MIB, "it is being read")
        self.ok("daemon", "stop")
        self.assertIn("the daemon is stopping", upload.finish().text)
        os.unlink(large)
        self.open_gate("end")
        self.assertNotIn("large", [file["name"] for file in self.ok("run", "files", "--json", run).json["items"]])
        self.wait(run)

    def test_a_table_of_many_columns_and_rows_is_read_in_bounded_memory(self):
        run = self.submit_python("""
            import runner
            run = runner.Run.get_context()
            run.log_row("wide", **{"c%d" % n: n for n in range(1000)})
            run.log_table("wide", {"c0": list(range(60000))})
            """)
        run = self.show()["runId"]
        before = self.peak_kib()
        target = "http://localhost/v1/runs/%s/metrics?values=1" % run
        done = self.home.call("sh", "-c", "curl -sS --unix-socket %s/control.sock '%s' | %s -c %s" % (
            self.home.data, target, settings.PYTHON, "'import json, sys; t = list(json.load(sys.stdin)[\"runs\"].values())[0][\"wide\"][\"table\"];"
            " print(len(t), len(t[\"c999\"]), t[\"c999\"][:2], t[\"c0\"][:3], t[\"c0\"][-1])'"), timeout=120)
        self.assertEqual(done.text.strip(), "1000 60001 [999, None] [0, 0, 1] 59999", done.describe())
        self.assert_memory(self.peak_kib() - before, 128 << 10)

    def test_a_long_series_is_read_in_bounded_memory(self):
        self.submit_python("""
            import runner
            run = runner.Run.get_context()
            for _ in range(30):
                run.log_list("long", [777777.5] * 10000)  # a number that is part of no time
            """)
        run = self.show()["runId"]
        before = self.peak_kib()
        for query in ("values=1", "name=long", "values=1&name=long", "name=long&max-points=2000000"):
            target = "http://localhost/v1/runs/%s/metrics?%s" % (run, query)
            done = self.home.call("sh", "-c", "curl -sS --unix-socket %s/control.sock '%s' | grep -o '777777\\.5' | wc -l" % (self.home.data, target), timeout=120)
            self.assertEqual(done.text.strip(), "300000", (query, done.describe()))
        self.assert_memory(self.peak_kib() - before, 64 << 10)
        self.assertIn("max-points", self.refused(400, "GET", "/v1/runs/%s/metrics?name=long&max-points=200000" % run))
