"""What a script may say in its metric journal beside single values, and how `show`, `list` and `run metrics` read it back."""
from support.case import RunnerTest

RECORDS = """\
import json, os
journal = os.open(os.environ["RUNNER_METRICS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
def say(**record):
    os.write(journal, b"\\x1e" + json.dumps(dict(record, time=1700000000000000)).encode() + b"\\n")
say(metric="once", value=0.5)
say(list="short", values=[1])
say(list="none", values=[])
say(row="row", values={"b": 1, "a": {"float": "nan"}})
say(row="rows", values={"b": 1})
say(row="rows", values={"a": "x"})
say(table="table", values={"x": [1, 2, 3], "y": ["s"]})
say(metric="table", value=1)
say(metric="once", value=1, run="somebody_1700000000_0123abcd")
for i in range(3000):
    say(metric="long", value=i, step=i)
"""


class MetricShapes(RunnerTest):
    def test_every_shape_is_read_back(self):
        self.submit_python(RECORDS)
        shown = self.show()
        metrics = shown["metrics"]
        long = metrics.pop("long")
        self.assertEqual(metrics, {"once": 0.5, "short": [1], "none": [], "row": {"b": 1, "a": "NaN"},
                                   "rows": {"b": [1, None], "a": [None, "x"]}, "table": {"x": [1, 2, 3], "y": ["s", None, None]}})
        self.assertEqual((len(long), long[0], long[-1]), (1000, 0, 2999))
        self.assertEqual(shown["metricsThinned"], ["long"])
        self.assertEqual(shown["kind"], "script")
        (notice,) = [notice for notice in shown["notices"] if "metrics left out" in notice]
        self.assertIn("1 record (of 'table' first) of another shape", notice)
        self.assertIn("1 record of runs that are not below this one", notice)
        (listed,) = self.runs()
        self.assertEqual({name: listed["metrics"][name] for name in ("once", "short", "rows", "long")},
                         {"once": 0.5, "short": 1, "rows": {"a": "x"}, "long": 2999})
        overview = {item["name"]: item for item in self.ok("run", "metrics", "--json", "@last").json["items"]}
        self.assertEqual((overview["table"]["shape"], overview["table"]["count"], overview["table"]["columns"]), ("table", 3, ["x", "y"]))
        self.assertEqual([item["values"] for item in self.ok("run", "metrics", "--name", "rows", "--json", "@last").json["items"]], [{"b": 1}, {"a": "x"}])
        for text in (self.ok("show", "@last").text, self.ok("run", "list").text, self.ok("run", "metrics", "@last").text):
            self.assertIn("once", text)
