"""What asks the history: filters and pages of lists, metrics, differences, SQL, backups, event files for TensorBoard."""
import os
import signal
import stat
import struct
import tarfile

from support.case import RunnerTest
from support.waiting import wait_until

TRAIN = """
import sys
import runner
lr = float(sys.argv[sys.argv.index('--lr') + 1])
for step in range(5):
    runner.log('loss', lr / (step + 1), step=step)
runner.log('name', 'text')
"""


class Lists(RunnerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        case = cls.for_the_class()
        case.write("train.py", TRAIN)
        cls.ids = [case.detach("--name", "first of them", "train.py", "--lr", "0.1"),
                   case.detach("train.py", "--lr", "0.5", "--opt", "adam"),
                   case.detach("--tag", "good", "train.py", "--lr", "1")]
        for run_id in cls.ids:
            case.ok("wait", run_id)

    def found(self, *filters):
        return [self.ids.index(run["runId"]) for run in self.ok("run", "list", *filters, "--json").json["items"]]

    def test_by_parameter_and_metric(self):
        self.assertEqual(self.found("--param", "lr<=0.5"), [1, 0])
        self.assertEqual(self.found("--param", "opt=adam"), [1])
        self.assertEqual(self.found("--param", "lr>0.1", "--param", "opt"), [1])
        self.assertEqual(self.found("--metric", "loss>0.05"), [2, 1])
        self.assertEqual(self.found("--metric", "loss.max=0.5"), [1])
        self.assertEqual(self.found("--metric", "nothing"), [])

    def test_by_kind_text_and_time(self):
        self.assertEqual(self.found("--kind", "script"), [2, 1, 0])
        self.assertEqual(self.found("--kind", "child"), [])
        self.assertEqual(self.found("--text", "FIRST of"), [0])
        self.assertEqual(self.found("--until", "2000-01-01T00:00:00Z"), [])
        self.assertEqual(self.found("--since", "1d", "--tag", "good"), [2])

    def test_pages_follow_one_another(self):
        token, seen = [], []
        for _ in range(3):
            page = self.ok("run", "list", "--last", "1", *token, "--json").json
            seen += [self.ids.index(run["runId"]) for run in page["items"]]
            token = ["--next-token", page["nextToken"]] if page["nextToken"] else []
        self.assertEqual(seen, [2, 1, 0])
        self.assertEqual(token, [])
        self.assertEqual(self.found("--all"), [2, 1, 0])

    def test_what_cannot_be_asked_is_wrong_usage(self):
        for filters in (["--metric", "loss.min<many"], ["--text", "ab"], ["--kind", "large"], ["--param", "=1"]):
            with self.subTest(filters):
                self.assertEqual(self.runner("run", "list", *filters).code, 2)

    def test_metrics_as_a_table_as_a_series_and_thinned(self):
        text = self.ok("run", "metrics", self.ids[0]).text
        self.assertRegex(text, r"loss +value +5 +0\.02 +0\.02 +0\.1")
        points = self.ok("run", "metrics", self.ids[0], "--name", "loss", "--json").json["items"]
        self.assertEqual([point["step"] for point in points], [0, 1, 2, 3, 4])
        thinned = self.ok("run", "metrics", self.ids[0], "--name", "loss", "--max-points", "2", "--json").json["items"]
        self.assertEqual([point["step"] for point in thinned], [0, 4])
        self.assertEqual(self.runner("run", "metrics", self.ids[0], "--max-points", "2").code, 2)

    def test_the_difference_has_parameters_by_name_and_metrics_last_and_best(self):
        document = self.ok("run", "diff", self.ids[0], self.ids[1], "--json").json
        self.assertEqual({item["name"]: (item["before"], item["after"]) for item in document["parameters"]["items"]},
                         {"lr": ("0.1", "0.5"), "opt": (None, "adam")})
        metrics = {item["name"]: (item["before"], item["after"]) for item in document["metrics"]["items"]}
        self.assertEqual(metrics, {"loss": ("0.02", "0.1"), "loss.min": ("0.02", "0.1"), "loss.max": ("0.1", "0.5")})
        self.assertEqual(document["environment"]["items"], [])
        self.assertEqual(document["environment"]["packages"], [])
        text = self.ok("run", "diff", self.ids[0], self.ids[1]).text
        self.assertIn("loss.min", text)
        self.assertNotIn("isolation", text)
        self.assertIn("isolation", self.ok("run", "diff", self.ids[0], self.ids[1], "--params", "--all").text)
        self.assertEqual(self.ok("run", "diff", self.ids[0], self.ids[0]).out, b"")


class Machine(RunnerTest):
    fresh_home = True  # its daemon starts twice

    def differences(self, *options):
        return self.ok("run", "diff", *options, "--machine", "--json").json["items"]

    def test_it_is_recorded_and_differs_only_where_it_does(self):
        self.write("train.py", "pass\n")
        runs = [self.detach("train.py", "--lr", lr) for lr in ("0.1", "0.5")]
        self.ok("wait", *runs)
        self.assertEqual(self.differences(*runs), [])
        self.assertEqual(self.ok("run", "diff", *runs, "--machine").out, b"")
        self.assertNotIn("machine", self.ok("run", "diff", *runs).text)
        shown, names = self.show(runs[0]), os.uname()
        machine = shown["machine"]
        self.assertEqual((machine["hostname"], machine["kernel"], machine["architecture"]), (names.nodename, names.release, names.machine))
        self.assertEqual(machine["memoryBytes"], os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE"))
        self.assertEqual(shown["parameters"], {"lr": "0.1"})
        self.assertIn({"name": "kernel", "before": names.release, "after": names.release}, self.differences(*runs, "--all"))

        # Another daemon of this home, that may use one processor only.
        self.ok("daemon", "stop")
        there = len(os.sched_getaffinity(0))
        started = self.home.call("taskset", "-c", str(min(os.sched_getaffinity(0))), self.home.program("runner"), "daemon", "start")
        self.assertEqual(started.code, 0, started.describe())
        after = self.detach("train.py", "--lr", "0.1")
        self.wait(after)
        self.assertEqual(self.differences(runs[0], after), [{"name": "cpus", "before": there, "after": 1}] if there > 1 else [])
        self.assertEqual("cpus" in self.ok("run", "diff", runs[0], after).text, there > 1)
        self.assertNotIn("kernel", self.ok("run", "diff", runs[0], after).text)


class Sql(RunnerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        case = cls.for_the_class()
        case.write("train.py", TRAIN)
        case.submit("--tag", "quality=good", "train.py", "--lr", "0.1")
        case.submit("train.py", "--lr", "0.2")

    def rows(self, query, *options):
        return self.ok("sql", query, *options, "--json").json["items"]

    def test_the_views_join_and_the_answer_is_a_table_or_json(self):
        rows = self.rows("SELECT p.value AS lr, m.min AS best FROM runs r JOIN parameters p ON p.run = r.run AND p.key = 'lr' "
                         "JOIN metrics m ON m.run = r.run WHERE m.name = 'loss' ORDER BY m.min")
        self.assertEqual(rows, [{"lr": "0.1", "best": 0.02}, {"lr": "0.2", "best": 0.04}])
        done = self.home.call("sh", "-c", "echo 'SELECT 1 AS one' | %s sql - --json" % self.home.program("runner"), directory=self.project)
        self.assertEqual(done.json["items"], [{"one": 1}], done.describe())
        text = self.ok("sql", "SELECT status, count(*) AS runs FROM runs GROUP BY status").text
        self.assertRegex(text, r"status +runs\nCompleted +2\n")
        self.assertEqual(self.rows("SELECT count(*) AS n FROM metric_points WHERE name = 'loss'"), [{"n": 10}])
        self.assertEqual(self.rows("SELECT a.value FROM runs, json_each(runs.arguments) a WHERE a.value = '0.2'"), [{"value": "0.2"}])

    def test_every_documented_view_answers(self):
        for view in ("runs tags properties parameters metrics metric_points metric_rows artifacts notices attempts environments"
                     " experiments ledger").split():
            with self.subTest(view):
                self.ok("sql", "SELECT * FROM " + view, "--json")

    def test_rows_are_limited_and_that_is_said(self):
        result = self.ok("sql", "SELECT number FROM metric_points", "--limit", "3", "--json")
        self.assertEqual((len(result.json["items"]), result.json["truncated"]), (3, True))
        self.assertIn("only the first 3 rows", result.err)

    def test_nothing_but_reading_the_views_is_allowed(self):
        before = self.rows("SELECT count(*) AS n FROM runs")
        for query, code in [("DELETE FROM runs", (2, 5)), ("UPDATE run SET name = 'x'", (5,)), ("INSERT INTO tag VALUES (1, 'a', 'b')", (5,)),
                            ("ATTACH '/tmp/x' AS x", (5,)), ("PRAGMA journal_mode=DELETE", (5,)), ("VACUUM INTO '/tmp/x'", (5,)),
                            ("SELECT load_extension('x')", (5,)), ("SELECT idempotency_key FROM run", (5,)), ("BEGIN", (5,)),
                            ("SELECT * FROM sqlite_schema", (5,)), ("WITH runs AS (SELECT definition FROM submission) SELECT * FROM runs", (5,)),
                            ("SELECT 1; DELETE FROM run", (2, 5)), ("EXPLAIN SELECT 1", (5,)), ("SELEKT", (2,)), ("", (2,)),
                            ("SELECT nothing FROM runs", (2,))]:
            with self.subTest(query):
                result = self.runner("sql", query)
                self.assertIn(result.code, code, result.describe())
        self.assertEqual(self.rows("SELECT count(*) AS n FROM runs"), before)

    def test_a_query_without_end_is_ended_and_the_daemon_lives(self):
        daemon = self.home.daemon_pid()
        result = self.runner("sql", "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c")
        self.assert_error(result, 2, "takes longer than 10 s")
        nested = ", ".join(["a0 AS (SELECT 1 AS x)"] + ["a%d AS (SELECT 1 AS x FROM a%d, a%d b)" % (n, n - 1, n - 1) for n in range(1, 16)])
        self.assert_error(self.runner("sql", "WITH " + nested + " SELECT count(*) FROM a15"), 2, "too often")
        deep = ", ".join(["a0 AS (SELECT 1 AS x)"] + ["a%d AS %sa%d%s" % (n, "(SELECT max(x) AS x FROM " * 14, n - 1, ")" * 14) for n in range(1, 16)])
        self.assertEqual(self.rows("WITH " + deep + " SELECT x FROM a15"), [{"x": 1}])
        self.assertEqual(self.home.daemon_pid(), daemon)


class Backup(RunnerTest):
    def test_a_backup_of_a_living_home_is_restored_and_lists_its_runs(self):
        self.write("out.py", "import os\nos.makedirs('outputs')\nopen('outputs/model', 'wb').write(b'm' * 3000000)\n")
        self.submit("out.py")
        ended = self.show()["runId"]
        live = self.detach_gated("tell('running')\nawait_('go')\n")
        self.await_gate("running")
        place = self.home.new_project()
        made = self.ok("backup", "runs.tar", "--json", directory=place).json
        file = place + "/runs.tar"
        self.assertEqual((made["path"], made["bytes"]), (file, os.stat(file).st_size))
        self.assertEqual(stat.S_IMODE(os.stat(file).st_mode), 0o600)
        self.assertEqual(os.listdir(place), ["runs.tar"])
        self.ok("backup", file)  # again: replaced
        with tarfile.open(file) as archive:
            self.assertEqual(archive.getnames(), ["backup.json", "runner.db", "content.db"])
        self.open_gate("go")
        self.wait(live)

        restored = place + "/restored"
        for command in (["mkdir", "-m", "700", restored], ["tar", "-xf", file, "-C", restored]):
            self.assertEqual(self.home.call(*command).code, 0)
        try:
            runs = {run["runId"]: run["status"] for run in self.ok("--home", restored, "run", "list", "--json").json["items"]}
            self.assertEqual(runs[ended], "Completed")
            self.assertIn(live, runs)
            wait_until(lambda: self.ok("--home", restored, "run", "show", live, "--json").json["status"] == "Failed", "the end of what was live")
            self.ok("--home", restored, "run", "download", ended, "-d", place + "/files")
            with open(place + "/files/outputs/model", "rb") as model:
                self.assertEqual(model.read(), b"m" * 3000000)
            self.ok("--home", restored, "fsck")
        finally:
            self.runner("--home", restored, "daemon", "stop")

    def test_impossible_places_are_refused_and_leave_nothing(self):
        self.submit_python("pass\n")
        for path, code in ((self.home.data + "/runner.db", 2), ("/nonexistent/x.tar", 3), (self.home.new_project(), 2)):
            with self.subTest(path):
                self.assertEqual(self.runner("backup", path).code, code)
        self.assertEqual(self.show()["status"], "Completed")


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff


def fields(data):
    """(number, value) of a protocol buffer: bytes, or a whole number."""
    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    at = 0
    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        size = {1: 8, 5: 4}.get(key & 7) or varint()
        yield key >> 3, data[at:at + size]
        at += size


def events(path):
    """The events of a file: TFRecord and protocol buffers read once more, from their specifications."""
    with open(path, "rb") as file:
        data = file.read()
    while data:
        head, (size, crc) = data[:8], struct.unpack("<QI", data[:12])
        assert crc == masked(head), "the length's checksum"
        body = data[12:12 + size]
        assert struct.unpack("<I", data[12 + size:16 + size])[0] == masked(body), "the record's checksum"
        data = data[16 + size:]
        yield dict(fields(body))


class Tensorboard(RunnerTest):
    def test_logged_metrics_become_event_files(self):
        self.assertEqual(crc32c(b"123456789"), 0xe3069283)  # the oracle itself
        self.submit_python("import runner\nfor i in range(3):\n    runner.log('loss', 1.5 / (i + 1), step=10 * i)\n"
                           "runner.log('epochs', 7)\nrunner.log('text', 'no number')\nrunner.log('nan', float('nan'))\n")
        run_id = self.show()["runId"]
        [item] = self.ok("tensorboard", "--metrics", "@last", "--directory", "curves", "--json").json["items"]
        self.assertEqual((item["runId"], item["metrics"], item["points"]), (run_id, 3, 5))
        self.assertTrue(item["path"].startswith(self.project + "/curves/" + run_id + "/events.out.tfevents."), item)
        first, *rest = events(item["path"])
        self.assertEqual(first[3], b"brain.Event:2")
        found = {}
        for event in rest:
            value = dict(fields(dict(fields(event[5]))[1]))
            found.setdefault(value[1].decode(), []).append((event.get(2, 0), struct.unpack("<f", value[2])[0]))
            self.assertGreater(struct.unpack("<d", event[1])[0], 1.6e9)
        self.assertEqual(found["loss"], [(0, 1.5), (10, 0.75), (20, 0.5)])
        self.assertEqual(found["epochs"], [(0, 7.0)])
        self.assertNotEqual(found["nan"][0][1], found["nan"][0][1])

    def test_without_tensorboard_it_says_how_to_install_it(self):
        self.submit_python("pass\n")
        result = self.runner("tensorboard", "@last", environment={"PATH": "/nonexistent"})
        self.assert_error(result, 125, "not installed")
        self.assertIn("pip install tensorboard", result.err)

    def test_event_files_under_logs_are_mirrored_for_an_installed_one(self):
        self.submit_python("import os\nos.makedirs('logs/tb')\nopen('logs/tb/events.out.tfevents.1.h', 'wb').write(b'abc' * 1000)\n"
                           "open('logs/other.txt', 'w').write('x')\n")
        run_id = self.show()["runId"]
        tools = self.home.new_project()
        self.home.write(tools + "/tensorboard", "#!/bin/sh\necho \"$@\"\ncd \"$2\" && find . -type f -exec wc -c {} +\nexit 7\n", 0o755)
        result = self.runner("tensorboard", "@last", "--port", "1234", environment={"PATH": tools + ":/usr/bin:/bin"})
        self.assertEqual(result.code, 7, result.describe())
        self.assertRegex(result.text, r"--logdir \S+ --port 1234\n")
        self.assertRegex(result.text, r"3000 \./%s/tb/events\.out\.tfevents\.1\.h\n" % run_id)
        self.assertNotIn("other", result.text)
        self.assertFalse(os.path.exists(result.text.split()[1]))
        for _ in range(2):  # what is there is not written once more
            result = self.runner("tensorboard", "@last", "--directory", "kept", environment={"PATH": tools + ":/usr/bin:/bin"})
            self.assertRegex(result.text, r"3000 \./%s/tb/events" % run_id)

    def test_ctrl_c_ends_tensorboard_and_then_its_directory_goes(self):
        self.submit_python("pass\n")
        tools = self.home.new_project()
        self.home.write(tools + "/tensorboard", "#!/bin/sh\necho \"$2\"\nexec sleep 600\n", 0o755)
        started = self.home.background("tensorboard", "@last", directory=self.project, environment={"PATH": tools + ":/usr/bin:/bin"})
        started.wait_for_output(b"\n")
        place = started.out.decode().strip()
        self.assertTrue(os.path.isdir(place), place)
        os.kill(started.process.pid, signal.SIGINT)
        self.assertEqual(started.finish().code, 0)
        self.assertFalse(os.path.exists(place))
