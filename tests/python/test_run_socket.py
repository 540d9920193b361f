"""A script's questions over the run socket: which they are, with the run's token, and what the answers become."""

import os
import unittest

from support import CHECKS, RUN, FakeDaemon, ScriptCase, document_of, lines_matching, refused, without_time

PROLOGUE = CHECKS + """
import json, os, sys, runner
run = runner.Run.get_context()
"""


class RunSocketCase(ScriptCase):
    def setUp(self):
        super().setUp()
        self.socket = os.path.join(self.directory, "api.sock")
        self.routes = {}

    def answer(self, asked):
        if asked.headers.get("authorization") != "Bearer the-token":
            return 401, {"error": {"code": "permission", "message": "no valid token", "hint": None}}
        key = (asked.method, "/".join(asked.segments[3:]))
        found = self.routes.get(key, refused("notFound", "no route {} {}".format(*key)))
        return found(asked) if callable(found) else found

    def run_inside(self, text, check=True, **more):
        import textwrap

        self.daemon = FakeDaemon(self.socket, self.answer)
        try:
            more = dict({"RUNNER_SOCKET": self.socket, "RUNNER_TOKEN": "the-token"}, **more)
            return self.run_script(PROLOGUE + textwrap.dedent(text), check=check, **more)
        finally:
            self.daemon.die()

    def asked(self):
        """Method, path below /v1/runs/ID, query, document."""
        found = []
        for asked in self.daemon.asked:
            self.assertEqual(asked.segments[:2], ["v1", "runs"])
            found.append((asked.method, asked.segments[2], "/".join(asked.segments[3:]), asked.query, asked.document))
        return found


class Facts(RunSocketCase):
    def test_what_the_environment_says_is_asked_nobody(self):
        self.run_inside(
            """
            equal(run.id, os.environ["RUNNER_RUN_ID"])
            equal((run.experiment.name, run.type, run.attempt), ("diabetes", "script", 1))
            equal(repr(run), "Run(experiment: diabetes, id: %s)" % run.id)
            assert runner.Run.get_context() is run and runner.Run.get_context(allow_offline=False) is run
            assert not isinstance(run, runner._OfflineRun)
            run.log("x", 1); run.complete(); run.flush()
            with run: run.log("x", 2)
            refused(runner.Conflict, "is this script's own", lambda: run.wait_for_completion())
            """
        )
        self.assertEqual(self.asked(), [])

    def test_tags_properties_name_and_status(self):
        self.routes["PATCH", ""] = {}
        self.routes["GET", ""] = document_of(tags={"a": None, "b": "c"}, properties={"p": "q"}, name="pretty")
        self.run_inside(
            """
            run.tag("k"); run.tag("k", 5); run.set_tags({"a": "b", "c": None}); run.set_tags({})
            run.remove_tags(["k"]); run.remove_tags("c")
            run.add_properties({"p": 1}); run.add_properties({})
            run.name = "n"; run.display_name = "d"
            equal((run.get_tags(), run.tags), ({"a": None, "b": "c"},) * 2)
            equal((run.get_properties(), run.properties), ({"p": "q"},) * 2)
            equal((run.name, run.get_status(), run.status), ("pretty", "Running", "Running"))
            equal(run.get_details()["snapshotId"], run.get_snapshot_id())
            """
        )
        patches = [document for method, who, rest, query, document in self.asked() if method == "PATCH"]
        self.assertEqual(
            patches,
            [
                {"tags": {"k": None}},
                {"tags": {"k": "5"}},
                {"tags": {"a": "b", "c": None}},
                {"removeTags": ["k"]},
                {"removeTags": ["c"]},
                {"properties": {"p": "1"}},
                {"name": "n"},
                {"name": "d"},
            ],
        )
        self.assertEqual({(who, rest) for _, who, rest, _, _ in self.asked()}, {(RUN, "")})

    def test_a_property_that_is_there_is_a_conflict_and_a_dead_token_a_matter_of_permission(self):
        self.routes["PATCH", ""] = refused("conflict", "property 'p' is 'a' and cannot become 'b'", "use a tag")
        self.run_inside(
            """
            refused(runner.Conflict, "cannot become 'b'\\nhint: use a tag", lambda: run.add_properties({"p": "b"}))
            """
        )
        self.run_inside("refused(runner.PermissionDenied, 'no valid token', lambda: run.tag('x'))", RUNNER_TOKEN="old")

    def test_a_script_without_a_socket_logs_and_says_what_it_lacks_when_it_asks(self):
        done = self.run_script(
            PROLOGUE
            + """
run.log("x", 1)
run.upload_file("a", __file__)
refused(runner.Unavailable, "RUNNER_SOCKET is not set", lambda: run.get_metrics())
refused(runner.Unavailable, "RUNNER_SOCKET is not set", lambda: run.child_run("x"))
"""
        )
        self.assertEqual(done.stderr_text, "")
        self.assertEqual(len(self.records()), 2)

    def test_a_daemon_that_takes_no_files_is_given_none(self):
        os.rmdir(self.artifacts)
        self.run_script(
            PROLOGUE
            + """
refused(runner.Unavailable, "upload_file: this run's daemon takes no files", lambda: run.upload_file("a", __file__))
refused(runner.Unavailable, "write 'a' to outputs/ in the working directory", lambda: run.upload_file("a", __file__))
open("p.png", "w").close()
refused(runner.Unavailable, "log_image: this run's daemon takes no files", lambda: run.log_image("i", "p.png"))
"""
        )
        self.assertEqual((self.records(), os.path.exists(self.artifacts)), ([], False))

    def test_a_question_that_the_daemon_does_not_know_says_so(self):
        self.routes["PATCH", ""] = refused("notFound", "no such route", "GET /openapi.json lists them")
        self.routes["POST", "children"] = 405, {"error": {"code": "invalid", "message": "POST: not a method of this path"}}
        self.routes["GET", "metrics"] = {"items": [], "nextToken": None}
        self.run_inside(
            """
            refused(runner.Unavailable, "cannot do this: it does not know PATCH /v1/runs/%s" % run.id, lambda: run.tag("x"))
            refused(runner.Unavailable, "update the runner", lambda: run.tag("x"))
            refused(runner.Unavailable, "does not know POST /v1/runs/", lambda: run.child_run("x"))
            refused(runner.Unavailable, "`runner run metrics %s --json`" % run.id, lambda: run.get_metrics())
            """
        )


class Metrics(RunSocketCase):
    def test_metrics_read_back_exactly(self):
        answers = {
            RUN: {
                "once": {"value": 0.5},
                "nan": {"value": {"float": "nan"}},
                "text": {"value": "NaN"},
                "big": {"value": 2**63 - 1},
                "list": {"list": [1, {"float": "-inf"}, "x"]},
                "row": {"row": {"float": "nan", "b": {"float": "inf"}}},
                "table": {"table": {"a": [1, None], "b": [{"float": "inf"}, "y"]}},
                "plot": {"value": {"artifact": "plot_1.png", "type": "image"}},
            },
            "child": {"x": {"value": 1}},
            "silent": {},
        }
        self.routes["GET", "metrics"] = lambda asked: {
            "runs": answers if ("recursive", "1") in asked.query else {RUN: answers[RUN]}
        }
        self.run_inside(
            """
            found = run.get_metrics()
            equal(found, {"once": 0.5, "nan": float("nan"), "text": "NaN", "big": 2**63 - 1, "list": [1, -float("inf"), "x"],
                          "row": {"float": "nan", "b": float("inf")}, "table": {"a": [1, None], "b": [float("inf"), "y"]},
                          "plot": {"artifact": "plot_1.png", "type": "image"}})
            equal(run.get_metrics("once", recursive=True)["child"], {"x": 1})
            equal(sorted(run.get_metrics(recursive=True)), sorted([run.id, "child"]))
            equal(run.get_metrics(name="x", run_type=None, populate=False)["once"], 0.5)
            """
        )
        self.assertEqual(
            [query for _, _, _, query, _ in self.asked()],
            [
                [("values", "1")],
                [("values", "1"), ("name", "once"), ("recursive", "1")],
                [("values", "1"), ("recursive", "1")],
                [("values", "1"), ("name", "x")],
            ],
        )


class Children(RunSocketCase):
    def setUp(self):
        super().setUp()
        self.routes["POST", "children"] = lambda asked: {
            "items": [
                document_of(child["id"], kind="child", parentRunId=asked.segments[2], name=child.get("name", "?"))
                for child in asked.document["children"]
            ]
        }
        self.routes["POST", "end"] = {}

    def test_a_child_logs_into_its_parents_journal_and_ends_as_its_block_did(self):
        self.run_inside(
            """
            with run.child_run("fold 1") as child:
                child.log("x", 1, step=2)
                child.log_list("l", [1]); child.log_row("r", a=1); child.log_table("t", {"a": [1]})
                with child.child_run(name="deep", run_id="0b7c1c34-0000-4000-8000-000000000001") as deep:
                    deep.log("x", 3)
                equal((deep.parent == child, child.parent == run, child.type), (True, True, "child"))
            try:
                with run.child_run() as bad: raise ValueError("no good")
            except ValueError: pass
            open("ids", "w").write(json.dumps([child.id, deep.id, bad.id]))
            """
        )
        import json
        import uuid

        with open(os.path.join(self.directory, "ids")) as stream:
            child, deep, bad = json.load(stream)
        for made in (child, bad):
            self.assertEqual((uuid.UUID(made).version, str(uuid.UUID(made))), (4, made))
        self.assertEqual(
            [(who, rest, document) for _, who, rest, _, document in self.asked()],
            [
                (RUN, "children", {"children": [{"id": child, "name": "fold 1"}]}),
                (child, "children", {"children": [{"id": "0b7c1c34-0000-4000-8000-000000000001", "name": "deep"}]}),
                (deep, "end", {"status": "Completed"}),
                (child, "end", {"status": "Completed"}),
                (RUN, "children", {"children": [{"id": bad}]}),
                (bad, "end", {"status": "Failed", "error": {"code": "UserError", "message": "ValueError: no good"}}),
            ],
        )
        self.assertEqual(
            without_time(self.records()),
            [
                {"metric": "x", "value": 1, "step": 2, "run": child},
                {"list": "l", "values": [1], "run": child},
                {"row": "r", "values": {"a": 1}, "run": child},
                {"table": "t", "values": {"a": [1]}, "run": child},
                {"metric": "x", "value": 3, "run": deep},
            ],
        )

    def test_many_children_are_one_request_in_order(self):
        self.run_inside(
            """
            three = run.create_children(3)
            tagged = run.create_children(tag_key="alpha", tag_values=[0.1, None])
            assert len(three) == 3 and len(tagged) == 2
            """
        )
        first, second = [document["children"] for _, _, _, _, document in self.asked()]
        self.assertEqual([sorted(child) for child in first], [["id"]] * 3)
        self.assertEqual([child["tags"] for child in second], [{"alpha": "0.1"}, {"alpha": None}])

    def test_a_repeated_request_for_children_has_the_same_ids(self):
        # The daemon made them and died before it said so.
        def dies_first(asked):
            if len(self.daemon.asked) == 1:
                asked.handler.connection.shutdown(2)
                asked.handler.close_connection = True
                return None
            return {"items": [document_of(child["id"]) for child in asked.document["children"]]}

        self.routes["POST", "children"] = dies_first
        self.run_inside("assert len(run.create_children(4)) == 4")
        first, again = self.daemon.asked
        self.assertEqual(first.document, again.document)

    def test_lists_of_children_go_page_by_page_with_their_filters(self):
        pages = {None: (["c", "b"], "17"), "17": (["a"], None)}

        def listed(asked):
            ids, token = pages[dict(asked.query).get("nextToken")]
            return {"items": [document_of(run, kind="child", parentRunId=RUN) for run in ids], "nextToken": token}

        self.routes["GET", "children"] = listed
        self.run_inside(
            """
            equal([child.id for child in run.get_children()], ["c", "b", "a"])
            equal(next(run.get_children(True, {"k": "v", "bare": None}, "author", "child", "Completed")).id, "c")
            equal([child.parent.id for child in run.get_children(properties={"p": "=x"})], [run.id] * 3)
            refused(runner.Invalid, "get_children: tags cannot look for a key with '='", lambda: run.get_children(tags="a=b"))
            """
        )
        queries = [[pair for pair in query if pair[0] != "limit"] for _, _, _, query, _ in self.asked()]
        self.assertEqual(queries[:2], [[], [("nextToken", "17")]])
        self.assertEqual(
            queries[2],
            [
                ("kind", "child"),
                ("status", "Completed"),
                ("tag", "k=v"),
                ("tag", "bare"),
                ("property", "author"),
                ("recursive", "1"),
            ],
        )
        self.assertEqual(queries[3], [("property", "p==x")])
        self.assertTrue(all(("limit", "200") in query for _, _, _, query, _ in self.asked()))

    def test_a_daemon_that_is_away_at_the_end_of_a_block_hides_no_exception(self):
        done = self.run_inside(
            """
            from runner_sdk import _client
            _client.Client.ask.__defaults__ = tuple(0.2 if default == 120.0 else default for default in _client.Client.ask.__defaults__)
            with run.child_run("x") as child:
                os.unlink(os.environ["RUNNER_SOCKET"])
                child._history.client._connections._close_idle()
                raise KeyError("the script's own")
            """,
            check=False,
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn('KeyError: "the script\'s own"', done.stderr_text)
        self.assertEqual(len(lines_matching("is not ended from here: the daemon does not answer", done.stderr_text)), 1)


class Ends(RunSocketCase):
    def test_fail_and_cancel_of_the_scripts_run_and_of_children(self):
        self.routes["POST", "children"] = lambda asked: {"items": [document_of("child", kind="child", parentRunId=RUN)]}
        for route in ("end", "fail", "cancel"):
            self.routes["POST", route] = {}
        self.run_inside(
            """
            child = run.child_run("c")
            child.fail(error_details=ValueError("bad"), error_code="Numbers")
            child.cancel()
            run.fail("enough"); run.fail(RuntimeError("x"), "Code"); run.fail(); run.cancel()
            """
        )
        self.assertEqual(
            [(who, rest, document) for _, who, rest, _, document in self.asked()[1:]],
            [
                ("child", "end", {"status": "Failed", "error": {"code": "Numbers", "message": "ValueError: bad"}}),
                ("child", "cancel", {}),
                (RUN, "fail", {"reason": "enough"}),
                (RUN, "fail", {"reason": "Code: RuntimeError: x"}),
                (RUN, "fail", {"reason": "marked as failed by the script"}),
                (RUN, "cancel", {}),
            ],
        )

    def test_a_cancel_that_the_daemon_had_done_before_it_died_is_none_to_complain_of(self):
        self.routes["POST", "cancel"] = refused("conflict", "it has ended")
        self.routes["GET", ""] = document_of(status="Canceled")
        self.run_inside("run.cancel()")
        self.routes["GET", ""] = document_of(status="Completed")
        self.run_inside("refused(runner.Conflict, 'it has ended', run.cancel)")


class Files(RunSocketCase):
    def test_files_are_listed_and_fetched(self):
        content = os.urandom(300_000)
        files = [{"name": "outputs/m.pkl", "bytes": 300_000}, {"name": "logs/a", "bytes": 1}]
        self.routes["GET", "files"] = lambda asked: {
            "items": [file for file in files if file["name"].startswith(dict(asked.query).get("prefix", ""))]
        }
        self.routes["GET", "file"] = lambda asked: content if dict(asked.query)["name"] == "outputs/m.pkl" else b"a"
        self.run_inside(
            """
            equal(run.get_file_names(), ["logs/a", "outputs/m.pkl"])
            equal(run.download_file("outputs/m.pkl"), "m.pkl")
            equal(run.download_files("logs/", "d"), ["d/logs/a"])
            """
        )
        with open(os.path.join(self.directory, "m.pkl"), "rb") as stream:
            self.assertEqual(stream.read(), content)

    def test_a_download_that_breaks_goes_on_and_one_that_fails_leaves_what_was_there(self):
        content = os.urandom(100_000)
        self.write("kept", "old")

        def breaking(asked):
            if dict(asked.query)["name"] != "broken":
                return refused("notFound", "run has no file 'missing'")
            begin = asked.headers.get("range", "bytes=0-")[len("bytes=") : -1]
            rest = content[int(begin) :]
            asked.handler.send_response(206 if int(begin) else 200)
            asked.handler.send_header("Content-Length", str(len(rest)))
            asked.handler.end_headers()
            asked.handler.wfile.write(rest[:40_000])
            asked.handler.wfile.flush()
            if len(rest) > 40_000:
                asked.handler.connection.shutdown(2)
                asked.handler.close_connection = True
            return None

        self.routes["GET", "files"] = {"items": [{"name": "broken", "bytes": 100_000}]}
        self.routes["GET", "file"] = breaking
        self.run_inside(
            """
            run.download_file("broken", "whole")
            refused(runner.NotFound, "no file 'missing'", lambda: run.download_file("missing", "kept"))
            assert open("kept").read() == "old"
            assert not [name for name in os.listdir(".") if name.endswith(".part")]
            """
        )
        with open(os.path.join(self.directory, "whole"), "rb") as stream:
            self.assertEqual(stream.read(), content)
        self.assertEqual(len([asked for asked in self.daemon.asked if asked.path.endswith("/file")]), 4)

    def test_a_runs_file_never_leaves_the_directory_it_is_fetched_into(self):
        self.routes["GET", "file"] = b"evil"
        for name in ("../evil", "/etc/evil", "a/../../evil", "a//b", "outputs/.."):
            with self.subTest(name):
                self.routes["GET", "files"] = {"items": [{"name": name, "bytes": 4}]}
                self.run_inside(
                    "refused(runner.Invalid, 'would not stay in', lambda: run.download_files(output_directory='d'))"
                )
        self.assertFalse(os.path.exists(os.path.join(self.directory, "evil")))


class Submit(RunSocketCase):
    def test_a_child_is_submitted_with_a_copy_of_its_source(self):
        self.write("src/train.py", "print(1)")
        self.write("src/deep/data.txt", "data")
        self.write("src/.git/config", "secret")
        self.write("src/__pycache__/x.pyc", "x")
        self.write("src/outputs/kept.txt", "in a source directory outputs is code like any other")
        os.chmod(self.write("src/run.sh", "true"), 0o755)
        os.symlink("train.py", os.path.join(self.directory, "src", "link.py"))
        seen = {}

        def submitted(asked):
            tree = os.path.join(self.io, "trees", asked.document["sourceTree"])
            for directory, directories, names in os.walk(tree):
                for name in names:
                    path = os.path.join(directory, name)
                    seen[os.path.relpath(path, tree)] = (
                        os.readlink(path) if os.path.islink(path) else oct(os.stat(path).st_mode & 0o100)
                    )
            return 201, document_of("grandchild", parentRunId=RUN, notices=["mind the gap"])

        self.routes["POST", "submit"] = submitted
        done = self.run_inside(
            """
            config = runner.ScriptRunConfig("src", "train.py", ["--lr", 0.1], environment="registered",
                                            max_run_duration_seconds=60, memory="1g", network="off")
            child = run.submit_child(config, tags={"fold": 1})
            equal((child.id, child.parent == run), ("grandchild", True))
            child.log("x", 1)  # a descendant's metrics go through this journal, too
            """
        )
        ((method, who, rest, query, document),) = self.asked()
        key, tree = document.pop("idempotencyKey"), document.pop("sourceTree")
        self.assertTrue(key and "/" not in tree)
        self.assertEqual(
            (method, who, document),
            (
                "POST",
                RUN,
                {
                    "script": "train.py",
                    "arguments": ["--lr", "0.1"],
                    "environment": "registered",
                    "maxRunDuration": 60,
                    "memory": "1g",
                    "network": "off",
                    "tags": {"fold": "1"},
                },
            ),
        )
        self.assertEqual(
            seen,
            {
                "source/train.py": "0o0",
                "source/deep/data.txt": "0o0",
                "source/outputs/kept.txt": "0o0",
                "source/run.sh": "0o100",
                "source/link.py": "train.py",
            },
        )
        self.assertIn("runner: warning: mind the gap", done.stderr_text)
        self.assertEqual(self.records()[0]["run"], "grandchild")

    def test_what_this_run_writes_does_not_travel_and_a_refusal_leaves_no_copy(self):
        self.write("outputs/big.bin", "x")
        self.write("logs/events", "x")
        copied = []

        def submitted(asked):
            copied.extend(os.listdir(os.path.join(self.io, "trees", asked.document["sourceTree"], "source")))
            return refused("permission", "submit_child: memory: 4g is more than the parent's 2g")

        self.routes["POST", "submit"] = submitted
        self.run_inside(
            """
            config = runner.ScriptRunConfig(".", command="true", memory="4g")
            refused(runner.PermissionDenied, "memory: 4g is more than the parent's", lambda: run.submit_child(config))
            """
        )
        self.assertIn("script.py", copied)
        self.assertNotIn("outputs", copied)
        self.assertNotIn("logs", copied)
        self.assertEqual(os.listdir(os.path.join(self.io, "trees")), [])

    def test_what_only_the_user_chooses_is_refused_before_anything_is_copied(self):
        self.write("conda.yml", "dependencies: []")
        self.run_inside(
            """
            environment = runner.Environment.from_conda_specification("e", "conda.yml")
            for name, config in (
                ("conda", runner.ScriptRunConfig(".", "script.py", environment=environment)),
                ("config", runner.ScriptRunConfig(".", "script.py", run_config="local")),
                ("secrets", runner.ScriptRunConfig(".", "script.py", secrets=["TOKEN"])),
            ):
                refused(runner.PermissionDenied, "submit_child: " + name, lambda: run.submit_child(config))
            """
        )
        self.assertEqual(self.asked(), [])
        self.assertFalse(os.path.exists(os.path.join(self.io, "trees")))

    def test_the_users_daemon_is_out_of_a_scripts_reach_and_that_is_said(self):
        self.run_inside(
            """
            config = runner.ScriptRunConfig(".", "script.py")
            refused(runner.Unavailable, "submit_child(...) submits from a run", lambda: runner.Experiment("e").submit(config))
            refused(runner.Unavailable, "only its own run", lambda: next(run.experiment.get_runs()))
            refused(runner.Unavailable, "only a driver or a notebook", lambda: run.restore_snapshot())
            refused(TypeError, "submit_child: config must be a ScriptRunConfig, not dict", lambda: run.submit_child({}))
            """
        )
        self.assertEqual(self.asked(), [])


class Processes(RunSocketCase):
    def test_forked_workers_and_pickled_runs_ask_on_their_own(self):
        self.routes["GET", ""] = document_of(tags={"a": "b"})
        self.routes["PATCH", ""] = {}
        self.run_inside(
            """
            import pickle
            equal(run.get_tags(), {"a": "b"})
            copy = pickle.loads(pickle.dumps(run))
            pids = []
            for number in range(4):
                pid = os.fork()
                if pid == 0:
                    code = 1
                    try:
                        for n in range(10):
                            copy.tag("w%d" % number, n); run.log("w", n)
                        code = 0 if run.get_tags() == {"a": "b"} else 2
                    finally:
                        os._exit(code)
                pids.append(pid)
            assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 4
            assert b"the-token" not in repr(run._history).encode()
            """
        )
        self.assertEqual(len(self.asked()), 1 + 4 * 11)
        self.assertEqual(len(self.records()), 40)


if __name__ == "__main__":
    unittest.main()
