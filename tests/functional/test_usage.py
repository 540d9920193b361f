"""What a run uses, looked at once a second: its figures in `show`, the series in `run metrics --system`, live and afterwards."""
import json
import os
import time

from support import processes, settings
from support.case import RunnerTest
from support.waiting import wait_until

MEBI = 1 << 20

# Burns a second and a half of processor time with 64 MiB in hand, writes 8 MiB to the disk, and is there to be seen for
# two samples more.
WORK = """\
    import os, time
    block = bytearray(64 << 20)
    with open("written", "wb") as file:
        file.write(os.urandom(8 << 20))
        os.fsync(file.fileno())
    while time.process_time() < 1.5:
        pass
    time.sleep(2.2)
    """
FIGURES = ["peakMemoryBytes", "meanMemoryBytes", "cpuSeconds", "peakCpus", "meanCpus", "readBytes", "writtenBytes"]
SERIES = ["cpus", "cpuSeconds", "memoryBytes", "readBytes", "writtenBytes", "processes"]


class Usage(RunnerTest):
    def overview(self, run="@last"):
        items = self.ok("run", "metrics", "--system", "--json", run).json["items"]
        return {item["name"]: item for item in items}

    def points(self, name, run="@last"):
        return self.ok("run", "metrics", "--system", "--name", name, "--json", run).json["items"]

    def values(self, name, run="@last"):
        return [point["value"] for point in self.points(name, run)]

    def sampled(self, count, run, deadline=settings.DEADLINE):
        wait_until(lambda: self.overview(run).get("cpus", {"count": 0})["count"] >= count, "%d samples" % count, deadline)

    def test_peak_mean_and_sums_of_a_run_are_kept_and_shown(self):
        self.submit_python(WORK)
        run = self.show()
        outcome = run["outcome"]
        self.assertEqual([key for key in FIGURES if outcome.get(key) is None], [])
        self.assertGreaterEqual(outcome["cpuSeconds"], 1.5)
        self.assertLess(outcome["cpuSeconds"], 4)
        self.assertAlmostEqual(outcome["meanCpus"], outcome["cpuSeconds"] / run["durationSeconds"], delta=0.15)
        self.assertGreater(outcome["peakCpus"], outcome["meanCpus"])
        self.assertLess(outcome["peakCpus"], os.cpu_count() + 0.5)
        self.assertGreaterEqual(outcome["peakMemoryBytes"], 64 * MEBI)
        self.assertLess(outcome["peakMemoryBytes"], 512 * MEBI)
        self.assertGreaterEqual(outcome["meanMemoryBytes"], 32 * MEBI)
        self.assertLessEqual(outcome["meanMemoryBytes"], outcome["peakMemoryBytes"])
        self.assertGreaterEqual(outcome["writtenBytes"], 8 * MEBI)
        self.assertIsNone(run["usage"])  # of a live run only
        page = self.ok("run", "show", "@last").text
        self.assertRegex(page, r"(?m)^  CPU +%.2f s in all, %.2f CPUs in the mean, %.2f at most$" % tuple(
            outcome[key] for key in ("cpuSeconds", "meanCpus", "peakCpus")))
        self.assertRegex(page, r"(?m)^  memory +[0-9.]+ MiB in the mean, [0-9.]+ MiB at most$")
        self.assertRegex(page, r"(?m)^  disk +\S+ \S+ read, [0-9.]+ MiB written$")

    def test_the_series_has_the_shape_of_metrics_and_is_kept_as_an_artifact(self):
        self.submit_python(WORK)
        overview = self.overview()
        self.assertEqual(list(overview), SERIES)
        for name, item in overview.items():
            self.assertEqual(sorted(item), ["count", "last", "max", "min", "name", "shape", "type"])
            self.assertEqual(item["type"], "number")
            points = self.points(name)
            self.assertEqual([point["step"] for point in points], list(range(item["count"])))
            values = [point["value"] for point in points]
            self.assertEqual((values[-1], min(values), max(values)), (item["last"], item["min"], item["max"]))
        run = self.show()
        self.assertLessEqual(overview["cpus"]["count"], int(run["durationSeconds"]))
        times = [point["timeUtc"] for point in self.points("cpus")]
        self.assertEqual(times, sorted(times))
        self.assertGreater(times[0], run["startTimeUtc"])  # nothing before the start, nothing after the end
        self.assertLess(times[-1], run["endTimeUtc"])
        self.assertIn("system_logs/usage.jsonl", run["logFiles"])
        lines = [json.loads(line) for line in self.ok("logs", "--name", "system_logs/usage.jsonl", "@last").text.splitlines()]
        self.assertEqual([line["memoryBytes"] for line in lines], self.values("memoryBytes"))
        self.assertEqual(self.values("cpuSeconds"), sorted(self.values("cpuSeconds")))
        self.assertEqual(self.values("processes"), [1] * len(lines))
        self.assertIn("memoryBytes", self.ok("run", "metrics", "--system", "@last").text)

    def test_a_live_run_tells_what_it_has_used_so_far_even_from_another_daemon(self):
        run_id = self.detach_gated("block = bytearray(32 << 20)\ntell(\"running\")\nawait_(\"go\")\n")
        self.await_gate("running")
        self.sampled(1, run_id)
        run = self.show(run_id)
        self.assertIsNone(run["outcome"])
        self.assertGreaterEqual(run["usage"]["peakMemoryBytes"], 32 * MEBI)
        self.assertIn(" MiB in the mean", self.ok("run", "show", run_id).text)
        before = self.overview(run_id)["cpus"]["count"]
        self.home.kill_daemon()
        time.sleep(2.1)  # nobody but the shim counts now
        self.assertGreaterEqual(self.overview(run_id)["cpus"]["count"], before + 2)
        self.open_gate("go")
        self.assertGreaterEqual(self.wait(run_id)["outcome"]["meanMemoryBytes"], 32 * MEBI)

    def test_a_paused_run_is_not_looked_at(self):
        run_id = self.detach_gated("tell(\"running\")\nawait_(\"go\")\n")
        self.await_gate("running")
        self.sampled(1, run_id)
        self.ok("run", "pause", run_id)
        count = self.overview(run_id)["cpus"]["count"]
        time.sleep(2.3)
        self.assertEqual(self.overview(run_id)["cpus"]["count"], count)
        self.ok("run", "resume", run_id)
        self.sampled(count + 1, run_id)
        self.open_gate("go")
        run = self.wait(run_id)
        self.assertLess(run["outcome"]["meanCpus"], 2)
        lines = [json.loads(line) for line in self.ok("logs", "--name", "system_logs/usage.jsonl", run_id).text.splitlines()]
        self.assertLess(max(line["seconds"] for line in lines), 1.9)  # the pause is in none of them

    def test_what_children_have_used_counts_when_they_are_gone(self):
        self.submit_python("""\
            import os, subprocess, sys, time
            for _ in range(3):
                subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.4: pass"])
            time.sleep(1.3)
            """)
        self.assertGreaterEqual(self.values("cpuSeconds")[-1], 1.2)
        self.assertGreaterEqual(self.show()["outcome"]["cpuSeconds"], 1.2)

    def test_a_run_of_less_than_a_second_has_sums_and_no_series(self):
        self.submit_python("pass\n")
        run = self.show()
        self.assertGreater(run["outcome"]["cpuSeconds"], 0)
        self.assertGreater(run["outcome"]["peakMemoryBytes"], 0)
        if run["durationSeconds"] < 1:
            self.assertNotIn("system_logs/usage.jsonl", run["logFiles"])
            self.assertEqual(self.overview(), {})

    def test_a_system_metric_that_does_not_exist_is_named(self):
        self.submit_python("pass\n")
        self.assert_error(self.runner("run", "metrics", "--system", "--name", "gpu", "@last"), 3, "gpu")

    def test_a_thousand_processes_cost_the_supervisor_little(self):
        run_id = self.detach_gated("""\
            import signal
            for _ in range(1000):
                if os.fork() == 0:
                    os.setsid()
                    signal.pause()
            tell("running")
            await_("go")
            """)
        self.await_gate("running", 60)
        shim = processes.shim_of(run_id).pid

        def spent():
            with open("/proc/%d/stat" % shim) as file:
                fields = file.read().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        count = self.overview(run_id).get("cpus", {"count": 0})["count"]
        before, begin = spent(), time.monotonic()
        self.sampled(count + 4, run_id, 60)
        self.assertLess((spent() - before) / (time.monotonic() - begin), 0.2)  # of a CPU
        self.assertGreater(self.values("processes", run_id)[-1], 100)
        self.open_gate("go")
        self.wait(run_id)


class FirstChoice(RunnerTest):
    def test_a_run_is_what_the_kernel_ends_first_when_memory_is_short(self):
        facts = self.python_facts("""\
            import subprocess
            facts["script"] = int(open("/proc/self/oom_score_adj").read())
            facts["child"] = int(subprocess.run(["cat", "/proc/self/oom_score_adj"], capture_output=True).stdout)
            """)
        self.assertEqual(facts, {"script": 800, "child": 800})

    def test_its_daemon_and_its_supervisor_are_not(self):
        run_id = self.detach_gated("tell(\"running\")\nawait_(\"go\")\n")
        self.await_gate("running")
        for pid in (self.home.daemon_pid(), processes.shim_of(run_id).pid):
            with open("/proc/%d/oom_score_adj" % pid) as ours, open("/proc/self/oom_score_adj") as inherited:
                self.assertEqual(ours.read(), inherited.read())
        self.open_gate("go")
        self.wait(run_id)
