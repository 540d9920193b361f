"""Outside of a run the same calls work in memory, under the same rules."""

import unittest

from support import CHECKS, ScriptCase, need


class Offline(ScriptCase):
    def run_offline(self, text, **options):
        prologue = CHECKS + "import os, sys, runner\nrun = runner.Run.get_context()\n"
        import textwrap

        return self.run_script(prologue + textwrap.dedent(text), inside=False, **options)

    def test_it_says_so_once_and_can_be_told_from_a_run(self):
        done = self.run_offline(
            """
            again = runner.Run.get_context()
            assert again is run
            assert isinstance(run, runner.Run) and type(run) == runner._OfflineRun
            assert run.id.startswith("OfflineRun_")
            assert type(run.child_run("x")) == runner._OfflineRun
            equal(run.experiment.name, "offline")
            equal(run.parent, None)
            refused(runner.Unavailable, "this is no run", lambda: runner.Run.get_context(allow_offline=False))
            refused(TypeError, "comes from Run.get_context()", lambda: runner._OfflineRun())
            """
        )
        self.assertEqual(done.stderr_text.count("kept in memory only"), 1)
        self.assertEqual(done.stdout_text, "")

    def test_metrics_read_back_as_the_agreement_says(self):
        self.run_offline(
            """
            run.log("once", 0.5)
            run.log("often", 1); run.log("often", 2, step=7); run.log("often", "three")
            run.log_list("list", [4]); run.log_list("empty", [])
            run.log("grown", 1); run.log_list("grown", [2, 3])
            run.log_row("row", a=1, b=None)
            run.log_row("rows", a=1); run.log_row("rows", b=2); run.log_row("rows", a=3)
            run.log_table("table", {"a": [1]})
            run.log_table("tables", {"a": [1, 2], "b": ["x"]}); run.log_table("tables", {"c": [3]})
            run.log("nan", float("nan")); run.log("big", 2**63 - 1); run.log("text", "NaN")
            run.log_row("tricky", float="nan")
            run.log("Label:0 ", 1)
            equal(run.get_metrics(), {
                "once": 0.5, "often": [1, 2, "three"], "list": [4], "empty": [], "grown": [1, 2, 3],
                "row": {"a": 1, "b": None}, "rows": {"a": [1, None, 3], "b": [None, 2, None]}, "table": {"a": [1]},
                "tables": {"a": [1, 2, None], "b": ["x", None, None], "c": [None, None, 3]},
                "nan": float("nan"), "big": 2**63 - 1, "text": "NaN", "tricky": {"float": "nan"}, "Label:0 ": 1,
            })
            equal(run.get_metrics("once"), {"once": 0.5})
            equal(run.get_metrics(name="never"), {})
            assert run.get_metrics("nan")["nan"] != run.get_metrics("nan")["nan"]
            run.flush()
            refused(TypeError, "get_metrics: name must be a text", lambda: run.get_metrics(5))
            refused(ValueError, "rows already", lambda: run.log("rows", 1))
            """
        )

    def test_metrics_of_descendants_by_run(self):
        self.run_offline(
            """
            run.log("x", 0)
            with run.child_run("a") as a:
                a.log("x", 1)
                a.log("y", 2)
                with a.child_run("b") as b:
                    b.log("x", 3)
            run.child_run("silent").complete()
            equal(run.get_metrics(), {"x": 0})
            assert run.get_metrics(recursive=True) == {run.id: {"x": 0}, a.id: {"x": 1, "y": 2}, b.id: {"x": 3}}
            assert a.get_metrics("y", recursive=True) == {a.id: {"y": 2}}
            """
        )

    def test_tags_change_and_properties_do_not(self):
        self.run_offline(
            """
            run.tag("quality", "good"); run.tag("bare"); run.tag(key="n", value=3)
            run.set_tags({"quality": "better", "x": None})
            equal(run.get_tags(), {"quality": "better", "bare": None, "n": "3", "x": None})
            run.remove_tags(["bare", "missing"]); run.remove_tags("x")
            equal(run.tags, {"quality": "better", "n": "3"})
            run.tags["quality"] = "changed in a copy"
            equal(run.get_tags()["quality"], "better")
            run.add_properties({"author": "someone", "n": 1.5})
            run.add_properties({"author": "someone", "more": True})
            equal(run.get_properties(), {"author": "someone", "n": "1.5", "more": "True"})
            refused(runner.Conflict, "property 'n' is '1.5' and cannot become '2'", lambda: run.add_properties({"new": "x", "n": 2}))
            assert "new" not in run.get_properties()
            run.complete()
            run.tag("after the end"); run.name = "renamed"
            equal((run.get_tags()["after the end"], run.name, run.display_name), (None, "renamed", "renamed"))
            for error, words, call in [
                (TypeError, "tag: a key of key must be a text, not int", lambda: run.tag(5)),
                (runner.Invalid, "is empty", lambda: run.tag("")),
                (TypeError, "set_tags: tags must be a dict, not list", lambda: run.set_tags(["x"])),
                (TypeError, "add_properties: properties must be a dict, not str", lambda: run.add_properties("x")),
                (TypeError, "add_properties: properties['x'] is None; leave it out", lambda: run.add_properties({"x": None})),
                (runner.Invalid, "tag: key['x'] is not Unicode text", lambda: run.tag("x", "\\ud800")),
                (TypeError, "name must be a text", lambda: setattr(run, "name", 5)),
            ]:
                refused(error, words, call)
            """
        )

    def test_children_have_names_ends_and_lists(self):
        self.run_offline(
            """
            run.name = "sweep"
            first = run.child_run("first")
            equal(first.name, "sweep>first")
            equal(run.child_run().name, "sweep>2")
            named = run.child_run(name="n", run_id="0b7c1c34-0000-4000-8000-000000000001")
            equal(named.id, "0b7c1c34-0000-4000-8000-000000000001")
            five = run.create_children(5)
            assert len({child.id for child in five}) == 5
            tagged = run.create_children(tag_key="alpha", tag_values=[0.1, 1, None])
            equal([child.get_tags()["alpha"] for child in tagged], ["0.1", "1", None])
            assert len(run.create_children(count=2, tag_key="beta", tag_values="ab")) == 2
            deep = first.child_run("deep")
            assert next(run.get_children()).get_tags() == {"beta": "b"}  # newest first
            assert len(list(run.get_children())) == 13
            assert len(list(run.get_children(recursive=True))) == 14
            assert [child.id for child in run.get_children(tags={"alpha": "0.1"})] == [tagged[0].id]
            assert len(list(run.get_children(tags="alpha"))) == 3
            tagged[0].add_properties({"p": "q"})
            assert list(run.get_children(tags="alpha", properties={"p": "q"})) == [tagged[0]]
            assert list(run.get_children(properties={"p": "z"})) == []
            assert list(run.get_children(type="script")) == [] and len(list(run.get_children(type="child"))) == 13
            assert deep.parent == first and deep.parent.parent == run
            equal(first.get_status(), "Running")
            first.complete()
            equal((first.status, deep.get_status()), ("Completed", "Completed"))  # ends with its parent
            assert list(run.get_children(status="completed")) == [first]
            tagged[0].fail("it was no good", error_code="Bad")
            equal(tagged[0].get_details()["error"], {"code": "Bad", "message": "it was no good"})
            below = tagged[1].child_run("below")
            tagged[1].cancel()
            equal((below.get_status(), below.get_details()["statusReason"]), ("Canceled", "its parent ended"))
            run.parent
            for error, words, call in [
                (runner.Invalid, "create_children: neither count nor tag_values", lambda: run.create_children()),
                (runner.Invalid, "tag_key and tag_values go together", lambda: run.create_children(tag_key="x")),
                (runner.Invalid, "count is 3 and tag_values has 2", lambda: run.create_children(3, "x", [1, 2])),
                (runner.Invalid, "create_children: 0 children", lambda: run.create_children(0)),
                (runner.Invalid, "from 1 to 10000 at once", lambda: run.create_children(10001)),
                (TypeError, "count must be an integer, not float", lambda: run.create_children(2.5)),
                (TypeError, "child_run: name must be a text", lambda: run.child_run(5)),
                (runner.Invalid, "child_run: outputs", lambda: run.child_run("x", outputs="d")),
                (runner.Conflict, "it has ended", lambda: first.child_run("x")),
                (TypeError, "get_children: tags must be a dict or a text", lambda: run.get_children(tags=["x"])),
                (runner.Unavailable, "an offline run cannot submit", lambda: run.submit_child(runner.ScriptRunConfig(".", "x.py"))),
                (runner.NotFound, "an offline run knows only itself", lambda: run._history.show("other")),
            ]:
                refused(error, words, call)
            """
        )

    def test_a_with_block_completes_fails_or_leaves_alone(self):
        self.run_offline(
            """
            with run.child_run("good") as good: good.log("x", 1)
            equal(good.get_status(), "Completed")
            try:
                with run.child_run("bad") as bad: raise KeyError("missing")
            except KeyError: pass
            equal(bad.get_status(), "Failed")
            equal(bad.get_details()["error"], {"code": "UserError", "message": "KeyError: 'missing'"})
            try:
                with run.child_run("leaves") as leaves: sys.exit()
            except SystemExit: pass
            equal(leaves.get_status(), "Completed")
            try:
                with run.child_run("leaves") as leaves: sys.exit(3)
            except SystemExit: pass
            equal(leaves.get_status(), "Failed")
            with run.child_run("told") as told: told.fail("by hand")
            equal(told.get_status(), "Failed")
            with run.child_run("other") as other:
                run._history.stop(other.id, "cancel", None)  # as somebody else would
            equal(other.get_status(), "Canceled")
            with run.child_run("forked") as forked:
                pid = os.fork()
                if pid == 0:
                    try: sys.exit(3)
                    finally:
                        forked.__exit__(*sys.exc_info())
                        os._exit(0 if forked.get_status() == "Running" else 1)
                assert os.waitpid(pid, 0)[1] == 0
            refused(runner.Conflict, "it is Failed already", lambda: bad.complete())
            bad.fail("again is no news")
            equal(good.wait_for_completion()["status"], "Completed")
            refused(runner.RunFailed, "failed: KeyError: 'missing'", lambda: bad.wait_for_completion())
            refused(runner.RunCanceled, "was canceled", lambda: other.wait_for_completion(show_output=True))
            equal(bad.wait_for_completion(raise_on_error=False)["status"], "Failed")
            refused(runner.Conflict, "ends only when this process ends it", lambda: run.wait_for_completion())
            """
        )

    def test_files_are_kept_by_path_and_written_once(self):
        self.write("model.bin", "model" * 1000)
        self.write("tree/a.txt", "a")
        self.write("tree/b/c.txt", "c")
        self.run_offline(
            """
            import io
            run.upload_file("outputs/model.bin", "model.bin")
            run.upload_file("stream", io.BytesIO(b"bytes"))
            run.upload_folder("tree", "tree")
            equal(run.get_file_names(), ["outputs/model.bin", "stream", "tree/a.txt", "tree/b/c.txt"])
            refused(runner.Conflict, "the run has a file 'stream' already", lambda: run.upload_file("stream", "model.bin"))
            refused(runner.Conflict, "a part of 'stream/x' is a file", lambda: run.upload_file("stream/x", "model.bin"))
            refused(runner.Conflict, "a part of 'outputs' is a file", lambda: run.upload_file("outputs", "model.bin"))

            equal(run.download_file("outputs/model.bin", "copy.bin"), "copy.bin")
            assert open("copy.bin").read() == "model" * 1000
            os.mkdir("down")
            equal(run.download_file("stream", output_file_path="down"), "down/stream")
            equal(run.download_file("stream", "new/place/"), "new/place/stream")
            os.chdir("down"); equal(run.download_file("tree/a.txt"), "a.txt"); os.chdir("..")
            assert open("down/a.txt").read() == "a" and open("new/place/stream").read() == "bytes"
            equal(run.download_files("tree/", "d1"), ["d1/tree/a.txt", "d1/tree/b/c.txt"])
            equal(run.download_files(prefix="tree", output_directory="d2", append_prefix=False), ["d2/a.txt", "d2/b/c.txt"])
            equal(run.download_files("tree", output_paths=["x1", "x2"]), ["x1", "x2"])
            assert open("x2").read() == "c" and open("d2/b/c.txt").read() == "c"
            for error, words, call in [
                (runner.NotFound, "has no file 'missing'", lambda: run.download_file("missing", "down/missing")),
                (runner.NotFound, "no files whose names begin with 'missing'", lambda: run.download_files("missing")),
                (runner.Invalid, "output_paths has 1 paths for 2 files", lambda: run.download_files("tree", output_paths=["x"])),
                (TypeError, "download_file: name must be a text", lambda: run.download_file(5)),
                (runner.Invalid, "is no file's", lambda: run.download_file("tree/..", "down")),
                (runner.Unavailable, "only a driver or a notebook", lambda: run.restore_snapshot()),
            ]:
                refused(error, words, call)
            equal(sorted(os.listdir("down")), ["a.txt", "stream"])  # nothing unfinished stays
            """
        )

    def test_pictures_and_matrices_are_files_in_memory(self):
        need(self, "matplotlib")
        self.run_offline(
            """
            import matplotlib; matplotlib.use("Agg")
            from matplotlib.figure import Figure
            run.log_image("plot", plot=Figure(figsize=(1, 1)))
            run.log_confusion_matrix("cm", {"data": {"matrix": [[1]]}})
            plot, matrix = run.get_metrics()["plot"], run.get_metrics()["cm"]
            equal((plot["type"], matrix["type"]), ("image", "confusion_matrix"))
            assert set(run.get_file_names()) == {plot["artifact"], matrix["artifact"]}
            assert open(run.download_file(plot["artifact"], "p.png"), "rb").read(4) == b"\\x89PNG"
            """
        )

    def test_it_prints_and_pickles_and_threads_share_it(self):
        self.run_offline(
            """
            import pickle, threading
            assert repr(run) == "Run(experiment: offline, id: %s)" % run.id
            threads = [threading.Thread(target=lambda: [run.log("x", n) for n in range(500)]) for _ in range(4)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert sorted(run.get_metrics()["x"]) == sorted(list(range(500)) * 4)
            copy = pickle.loads(pickle.dumps(run))
            assert copy == run and copy.get_metrics() == run.get_metrics()
            error = pickle.loads(pickle.dumps(runner.RunFailed("m", "h", {"error": {"code": "Bad"}})))
            assert (str(error), error.code, error.details) == ("m\\nhint: h", "Bad", {"error": {"code": "Bad"}})
            error = pickle.loads(pickle.dumps(runner.Conflict("m")))
            assert (str(error), error.hint, error.code) == ("m", None, "conflict")
            """
        )


if __name__ == "__main__":
    unittest.main()
