"""Runs that a script submits: with other code, within what their parent has, and never with more than that."""
import json
import os
import textwrap
import time

from support import run_socket, settings
from support.driver_case import DriverTest
from support.settings import only_in
from support.waiting import wait_until

with open(run_socket.__file__) as file:
    ASK = file.read() + "ME = '/v1/runs/' + os.environ['RUNNER_RUN_ID']\n"

# A tree as the package makes it, by hand: what a script may get wrong.
TREE = ASK + textwrap.dedent("""\
    import os
    def tree(name="t", code="print('child')\\n"):
        source = "/run/runner/trees/%s/source" % name
        os.makedirs(source)
        with open(source + "/child.py", "w") as file:
            file.write(code)
        return source
    def submit(**more):
        return ask("POST", ME + "/submit", dict({"sourceTree": "t", "script": "child.py"}, **more))
    """)


class SubmittingTest(DriverTest):
    fresh_home = True

    def left(self):
        """Copies of trees that lie about."""
        return [name for name in os.listdir(self.home.data + "/runs") if name.startswith(".tree-")]


class Submitting(SubmittingTest):
    configuration = "parallel = 2\n"

    def facts(self, code, *options, **more):
        return self.python_facts(TREE + textwrap.dedent(code), *options, **more)

    def test_a_script_submits_waits_and_reads_what_its_child_has_logged(self):
        self.write("child.py", """\
            import os, sys, runner
            runner.log("square", int(sys.argv[1]) ** 2)
            os.makedirs("outputs")
            open("outputs/model.txt", "w").write(sys.argv[1])
            """)
        found = self.python_facts("""
            import runner
            run = runner.Run.get_context()
            children = [run.submit_child(runner.ScriptRunConfig(".", "child.py", [n]), tags={"n": str(n)}) for n in (2, 3)]
            for child in children:
                child.wait_for_completion()
            facts["squares"] = [child.get_metrics() for child in children]
            facts["files"] = [child.get_file_names() for child in children]
            facts["of"] = [child.parent.id == run.id for child in children]
            facts["all"] = sorted(child.id for child in run.get_children(type="script")) == sorted(child.id for child in children)
            facts["ids"], facts["id"] = [child.id for child in children], run.id
            facts["left"] = os.listdir("/run/runner/trees")
            """, timeout=120)
        self.assertEqual(found["squares"], [{"square": 4}, {"square": 9}])
        self.assertEqual((found["of"], found["all"], found["left"]), ([True, True], True, []))
        for names in found["files"]:
            self.assertIn("outputs/model.txt", names)
        parent = self.show(found["id"])
        for child in found["ids"]:
            shown = self.show(child)
            self.assertEqual((shown["parentRunId"], shown["experiment"], shown["status"]), (parent["runId"], parent["experiment"], "Completed"))
            self.assertEqual(shown["environment"], parent["environment"])
        self.assertEqual(self.left(), [])
        self.ok("fsck")

    def test_how_a_child_ends_says_nothing_of_the_machines_paths(self):
        there = self.home.write(self.home.base + "/there.txt", "x")
        found = self.facts("""
            tree("t", "open(%r)\\n")
            facts["end"] = ask("GET", "/v1/runs/" + submit()[1]["runId"] + "/wait")[1]
            """ % there)
        self.assertEqual(found["end"]["status"], "Failed")
        self.assertNotIn(there, json.dumps(found["end"]["error"]))

    def refused_by_name(self, wanted, *options):
        found = self.facts("""
            tree()
            for more in json.loads(%r):
                facts[json.dumps(more)] = submit(**more)
            """ % json.dumps(wanted), *options)
        self.assertEqual(len(found), len(wanted))
        for asked, (status, document) in found.items():
            with self.subTest(asked=asked):
                self.assertEqual(status, 403, document)
                self.assertIn(next(iter(json.loads(asked))), document["error"]["message"])
        self.assertEqual(len(self.runs()), 1)

    def test_what_would_be_more_than_its_parent_has_is_refused_by_name(self):
        self.refused_by_name(
            [{"maxRunDuration": "2h"}, {"network": "on"}, {"priority": 1}, {"maxLogSize": "2m"}, {"maxLogSize": "unlimited"}, {"grace": "20s"},
             {"mounts": ["/etc:/etc-of-the-host"]}, {"mounts": ["/no/such:/x"]}, {"mounts": [self.gate + ":/gate:rw"]}, {"mounts": [self.gate + ":/other"]},
             {"bestEffortLimits": True}, {"isolation": "none"}, {"python": "/tmp/python"}, {"image": "x"}, {"requirements": "r.txt"},
             {"conda": "c.yml"}, {"dockerfile": "D"}, {"config": "x"}, {"secrets": ["HOME"]}, {"caller": {}}, {"pull": True}, {"rebuild": True},
             {"experiment": "other"}, {"requeue": True}, {"gpus": "1"}, {"gpus": "all"}, {"gpus": "device=0"}],
            "--max-run-duration", "1h", "--network", "off", "--max-log-size", "1m", "--gpus", "none", "--mount", self.gate + ":/gate:ro")

    @settings.only_where_limits_work
    def test_what_would_be_more_than_its_parents_limits_is_refused_by_name(self):
        self.refused_by_name([{"memory": "1g"}, {"cpus": 2}, {"pids": 500}, {"shmSize": "2g"}],
                             "--memory", "500m", "--cpus", "1", "--pids", "200", "--shm-size", "1m")

    @settings.only_where_limits_work
    def test_a_child_may_have_less(self):
        found = self.facts("""
            tree()
            status, document = submit(memory="100m", cpus=0.5, maxRunDuration="10m", network="off", name="small", tags={"a": None})
            facts["status"], facts["id"] = status, document["runId"]
            facts["end"] = ask("GET", "/v1/runs/" + document["runId"] + "/wait")[1]["status"]
            """, "--memory", "500m", "--cpus", "1")
        shown = self.show(found["id"])
        self.assertEqual((found["status"], found["end"], shown["name"]), (201, "Completed", "small"))
        self.assertEqual((shown["runDefinition"]["memoryBytes"], shown["runDefinition"]["cpus"], shown["runDefinition"]["network"]), (100 << 20, 0.5, "off"))

    def test_a_tree_that_leads_elsewhere_does_not(self):
        secret = self.home.write(self.home.base + "/secret.txt", "of the user\n")
        found = self.facts("""
            source = tree("t", "import os\\nprint(sorted(os.listdir('.')))\\n")
            os.symlink(%r, source + "/link")
            os.symlink("/", source + "/root")
            os.mkfifo(source + "/fifo")
            os.makedirs(source + "/.git")
            facts["end"] = ask("GET", "/v1/runs/" + submit()[1]["runId"] + "/wait")[1]
            os.makedirs("/tmp/elsewhere")
            for name, target in (("up", "../artifacts"), ("host", "/tmp/elsewhere")):
                os.symlink(target, "/run/runner/trees/" + name)
            for name in ("up", "host", "none", "..", ".", "", "a/b", "../artifacts"):
                facts[name] = submit(sourceTree=name)[0]
            tree("empty")
            os.rename("/run/runner/trees/empty/source", "/run/runner/trees/empty/other")
            facts["no source"] = submit(sourceTree="empty")[0]
            tree("unscripted")
            facts["no script"] = submit(sourceTree="unscripted", script="other.py")[0]
            facts["script above"] = submit(sourceTree="unscripted", script="../x.py")[0]
            """ % secret, timeout=120)
        end = found.pop("end")
        self.assertEqual(end["status"], "Completed")
        self.assertEqual(found, {"up": 404, "host": 404, "none": 404, "..": 400, ".": 400, "": 400, "a/b": 400, "../artifacts": 400,
                                 "no source": 404, "no script": 400, "script above": 400})
        self.assertEqual(self.log(end["runId"]), b"['child.py', 'link', 'root']\n")
        restored = os.path.join(self.project, "restored")
        self.ok("run", "restore", end["runId"], restored)
        self.assertEqual(os.readlink(restored + "/link"), secret)

    def test_a_request_that_is_asked_again_is_one_run_and_anothers_key_shows_nothing(self):
        self.ok("daemon", "start")
        self.write("main.py", "pass\n")
        other = self.ask("POST", "/v1/runs", {"sourceDirectory": self.project, "script": "main.py", "idempotencyKey": "k",
                                               "caller": {"variables": {"PATH": os.environ["PATH"]}}}, 201)["runId"]
        found = self.facts("""
            tree()
            first = submit(idempotencyKey="k")
            again = submit(idempotencyKey="k")
            facts["statuses"] = [first[0], again[0]]
            facts["same"] = first[1]["runId"] == again[1]["runId"]
            facts["another"] = submit(idempotencyKey="k", arguments=["x"])[0]
            facts["id"] = first[1]["runId"]
            """)
        self.assertNotEqual(found.pop("id"), other)
        self.assertEqual(found, {"statuses": [201, 200], "same": True, "another": 409})

    def test_a_script_waits_for_its_own_children_only(self):
        stranger = self.detach_gated('tell("ready")\nawait_("end")\n')
        self.await_gate("ready")
        found = self.facts("""
            tree()
            first = submit()[1]["runId"]
            tree("u")
            facts["own"] = submit(sourceTree="u", after=[first])[0]
            for name in (%r, "@last", os.environ["RUNNER_RUN_ID"], "none"):
                tree("v")
                facts[name] = submit(sourceTree="v", after=[name])[0]
                os.rename("/run/runner/trees/v", "/run/runner/trees/v-" + str(len(facts)))
            """ % stranger)
        me = self.runs()[0]
        self.assertEqual(found.pop("own"), 201)
        self.assertEqual(set(found.values()), {404}, (found, me))
        self.open_gate("end")
        self.wait(stranger)

    def test_a_tree_that_changes_while_it_is_copied_costs_its_script_alone(self):
        found = self.facts("""
            import threading
            source = tree()
            over = threading.Event()
            def stir():
                number = 0
                while not over.is_set():
                    number += 1
                    try:
                        for i in range(20):
                            name = source + "/d%d" % i
                            os.makedirs(name, exist_ok=True)
                            file = os.open(name + "/f", os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK)  # it may be a FIFO
                            os.write(file, b"x" * (number % 50000))
                            os.close(file)
                            os.rename(name, source + "/e%d" % i)
                            os.symlink("/etc", name)
                            os.unlink(name)
                            os.unlink(source + "/e%d/f" % i)
                            os.mkfifo(source + "/e%d/f" % i)
                            os.rename(source + "/e%d" % i, name)
                            os.unlink(name + "/f")
                    except OSError:
                        pass
            stirring = [threading.Thread(target=stir) for _ in range(2)]
            for thread in stirring:
                thread.start()
            facts["statuses"] = []
            for n in range(10):
                facts["statuses"].append(submit()[0])
                if not os.path.isdir(source):
                    try:
                        tree()
                    except OSError:
                        pass
            over.set()
            for thread in stirring:
                thread.join()
            """, timeout=120)
        self.assertLessEqual(set(found["statuses"]), {201, 400, 404}, found)
        self.ok("cancel", "@last", code=None)
        self.assertEqual(self.left(), [])
        self.ok("fsck")

    def test_what_is_too_much_or_cannot_be_read_is_said_and_its_place_left(self):
        found = self.facts("""
            source = tree()
            with open(source + "/sparse", "w") as file:
                file.truncate(5 << 30)
            facts["larger than"] = submit()
            os.unlink(source + "/sparse")
            with open(source + "/.amlignore", "w") as file:
                file.write("x\\n" * 40000)
            facts["ignore files"] = submit()
            os.unlink(source + "/.amlignore")
            deep = source
            for i in range(70):
                deep += "/d"
                os.mkdir(deep)
            facts["too deeply"] = submit()
            os.rename(source + "/d", "/run/runner/trees/deep")
            with open(os.fsencode(source) + b"/caf\\xe9.txt", "w") as file:
                file.write("not UTF-8")
            facts["taken"] = submit(command=[sys.executable, "-c", "import os; print([os.fsencode(n) for n in sorted(os.listdir('.'))])"], script=None)
            facts["end"] = ask("GET", "/v1/runs/" + facts["taken"][1]["runId"] + "/wait")[1]["status"]
            """, timeout=180)
        taken = found.pop("taken")
        self.assertEqual((taken[0], found.pop("end")), (201, "Completed"), taken)
        for words, (status, document) in found.items():
            self.assertEqual(status, 400, document)
            self.assertIn(words, document["error"]["message"])
        self.assertIn(rb"caf\xe9.txt", self.log(taken[1]["runId"]))
        self.assertEqual(self.left(), [])

    def test_a_run_of_low_priority_has_children_of_low_priority(self):
        found = self.facts("""
            tree()
            facts["id"] = submit()[1]["runId"]
            tree("u")
            facts["lower"] = submit(sourceTree="u", priority=-6)[0]
            tree("v")
            facts["higher"] = submit(sourceTree="v", priority=-4)[0]
            """, "--priority", "-5")
        self.assertEqual((self.show(found["id"])["priority"], found["lower"], found["higher"]), (-5, 201, 403))

    def test_secrets_that_only_the_submitters_variables_held_are_left_out_and_named(self):
        file = self.home.write(self.home.config + "/runner/secrets.toml", 'OF_THE_FILE = "1"\n', 0o600)
        self.addCleanup(os.remove, file)
        found = self.facts("""
            tree("t", "import os\\nprint(sorted(os.listdir('/run/secrets')))\\n")
            status, document = submit()
            facts["notices"], facts["id"] = document["notices"], document["runId"]
            ask("GET", "/v1/runs/" + document["runId"] + "/wait")
            """, "--secret", "OF_THE_FILE", "--secret", "OF_THE_CALLER", environment={"OF_THE_CALLER": "2"})
        self.assertEqual(len([notice for notice in found["notices"] if "OF_THE_CALLER" in notice]), 1)
        self.assertEqual(self.log(found["id"]), b"['OF_THE_FILE']\n")

    def test_runs_nest_eight_deep(self):
        found = self.facts("""
            facts["nested"] = []
            depth = ME
            for above in range(1, 9):
                answer = ask("POST", depth + "/children", {"children": [{}]})[1]
                depth = "/v1/runs/" + answer["items"][0]["runId"]
                if above >= 7:
                    tree(str(above))
                    facts["nested"].append(ask("POST", depth + "/submit", {"sourceTree": str(above), "script": "child.py"})[0])
            """)
        self.assertEqual(found["nested"], [201, 403])

    def test_an_environment_that_is_not_built_is_not_built_for_a_script(self):
        kind, text = ("dockerfile", "FROM scratch\n") if settings.ISOLATION == "docker" else ("requirements", "no-such-package-anywhere\n")
        self.ok("env", "register", "unbuilt", "--" + kind, self.write("of-" + kind, text))
        found = self.facts("""
            tree()
            facts["answer"] = submit(environment="unbuilt")
            """)
        status, document = found["answer"]
        self.assertEqual(status, 503, document)
        self.assertIn("is not built", document["error"]["message"])
        listed = {item["name"]: item for item in self.ok("env", "list", "--json").json["items"]}
        self.assertIs(listed["unbuilt"]["built"], False)
        self.assertEqual(len(self.runs()), 1)

    @only_in("sandbox")
    def test_an_interpreter_that_the_script_has_changed_is_not_executed_outside(self):
        venv, marker = self.home.base + "/venv", self.home.base + "/marker"
        self.assertEqual(self.home.call(settings.PYTHON, "-m", "venv", "--without-pip", "--symlinks", venv).code, 0)
        self.submit_python("pass\n", "--python", venv + "/bin/python")  # it is asked, and its answer remembered
        time.sleep(0.1)
        self.submit_python("pass\n", "--python", venv + "/bin/python")
        found = self.facts("""
            import glob
            tree()
            facts["before"] = submit()[0]
            [packages] = glob.glob(%r + "/lib/python3*/site-packages")
            with open(packages + "/evil.pth", "w") as file:
                file.write("import os; os.close(os.open(%r, os.O_CREAT | os.O_WRONLY))\\n")
            tree("u")
            facts["after"] = submit(sourceTree="u")
            """ % (venv, marker), "--python", venv + "/bin/python", "--mount", "%s:%s:rw" % (venv, venv))
        self.assertEqual(found["before"], 201)
        status, document = found["after"]
        self.assertEqual(status, 503, document)
        self.assertIn("is not as it was", document["error"]["message"])
        self.assertFalse(os.path.exists(marker))

    def test_a_mount_that_the_script_could_lead_elsewhere_is_refused(self):
        for name in ("data/sub", "other"):
            os.makedirs(os.path.join(self.gate, name))
            self.home.account.own(os.path.join(self.gate, name))
        self.home.account.own(self.gate + "/data")
        code = """
            tree()
            facts["answer"] = submit()
            """
        data, inner, other = self.gate + "/data", self.gate + "/data/sub", self.gate + "/other"
        status, document = self.facts(code, "--mount", data + ":/d:rw", "--mount", inner + ":/i")["answer"]
        self.assertEqual(status, 403, document)
        self.assertIn("lies in what this script can write to", document["error"]["message"])
        for mounts in ((data + ":/d:ro", inner + ":/i:rw"), (data + ":/d:rw", other + ":/o:rw")):
            status, document = self.facts(code, *(word for mount in mounts for word in ("--mount", mount)))["answer"]
            self.assertEqual(status, 201, document)

    @only_in("sandbox")
    def test_a_thousand_wait_and_no_more(self):
        found = self.facts("""
            connection = Connection(os.environ["RUNNER_SOCKET"])
            def wait_for(*runs, **more):
                tree()
                asked = dict({"sourceTree": "t", "after": list(runs)}, **more)
                return ask_on(connection, "POST", ME + "/submit", asked, os.environ["RUNNER_TOKEN"])
            first = wait_for(command=["sleep", "600"])[1]["runId"]
            statuses = [wait_for(first, command=["true"])[0] for _ in range(1001)]
            facts["statuses"] = sorted(set(statuses[:-1])), statuses[-1]
            facts["cancel"] = ask("POST", "/v1/runs/%s/cancel" % first, {})[0]
            """, timeout=400)
        self.assertEqual(found, {"statuses": [[201], 409], "cancel": 200})


class Within(SubmittingTest):
    """The queue."""

    def outer(self, *options):
        return self.detach_gated(TREE + """
code = "import os, time\\nopen('/gate/started-' + os.environ['RUNNER_RUN_ID'], 'w').close()\\nwhile not os.path.exists('/gate/end'): time.sleep(0.01)\\n"
tree("t", code)
tree("u", code)
ids = [ask("POST", ME + "/submit", {"sourceTree": name, "script": "child.py", "mounts": ["%s:/gate:rw" % GATE_OF_HOST]})[1]["runId"] for name in "tu"]
tell("ids", json.dumps(ids))
await_("outer")
""".replace("GATE_OF_HOST", repr(self.gate)), *options)

    def started(self, run):
        return os.path.exists(os.path.join(self.gate, "started-" + run))

    def test_children_run_while_their_parent_has_the_machine_one_after_the_other(self):
        outer = self.outer()
        first, second = json.loads(self.await_gate("ids"))
        wait_until(lambda: self.started(first) or self.started(second), "one of them runs beside its parent")
        waiting = second if self.started(first) else first
        self.assertIn(outer, self.show(waiting)["statusReason"])
        self.assertFalse(self.started(waiting))
        self.assertEqual(self.show(outer)["status"], "Running")
        self.open_gate("end")
        for run in (first, second):
            self.wait(run)
        self.open_gate("outer")
        self.wait(outer)

    @only_in("sandbox")
    def test_the_next_daemon_puts_them_there_again(self):
        outer = self.outer()
        first, second = json.loads(self.await_gate("ids"))
        wait_until(lambda: self.started(first) or self.started(second), "one of them runs beside its parent")
        self.home.kill_daemon()
        waiting = second if self.started(first) else first
        self.assertIn(outer, self.show(waiting)["statusReason"])
        self.open_gate("end")
        for run in (first, second):
            self.wait(run)
        self.open_gate("outer")
        self.wait(outer)
        self.ok("fsck")

    @only_in("sandbox")
    def test_a_daemon_that_dies_over_a_tree_leaves_nothing_and_the_question_is_asked_again(self):
        outer = self.detach_gated(TREE + """
with open(tree() + "/large", "w") as file:
    file.truncate(1 << 30)
def again():
    while True:
        try:
            return submit(script=None, command=["true"], idempotencyKey="k")
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
tell("asks")
tell("answers", json.dumps([[status, document.get("runId")] for status, document in (again(), again())]))
await_("outer")
""")
        self.await_gate("asks")
        [left] = wait_until(self.left, "the tree is being copied")
        self.home.kill_daemon()
        self.assertEqual(self.left(), [left])
        self.ok("daemon", "start")
        wait_until(lambda: left not in self.left(), "the next daemon has removed it")
        [first, second] = json.loads(self.await_gate("answers", 240))
        self.assertEqual((first[0], second, self.left()), (201, [200, first[1]], []))
        self.wait(first[1])
        self.open_gate("outer")
        self.wait(outer)
        self.ok("fsck")

    def test_a_cancel_takes_them_along_and_an_end_does_not(self):
        outer = self.outer()
        first, second = json.loads(self.await_gate("ids"))
        self.open_gate("outer")
        self.wait(outer)
        self.assertNotIn(self.show(first)["status"], ("Canceled", "Failed"))
        self.open_gate("end")
        for run in (first, second):
            self.wait(run)
        os.unlink(os.path.join(self.gate, "end"))
        os.unlink(os.path.join(self.gate, "outer"))
        os.unlink(os.path.join(self.gate, "ids"))
        outer = self.outer()
        children = json.loads(self.await_gate("ids"))
        self.ok("cancel", outer)
        for run in [outer, *children]:
            self.until_status(run, "Canceled")

    def test_a_next_attempt_cancels_what_the_last_one_has_submitted(self):
        outer = self.outer("--priority", "-1")
        children = json.loads(self.await_gate("ids"))
        wait_until(lambda: any(self.started(child) for child in children), "one of them runs beside its parent")
        os.unlink(os.path.join(self.gate, "ids"))
        self.submit_python("pass\n", timeout=60)
        for child in children:
            self.assertEqual(self.until_status(child, "Canceled")["statusReason"], "its parent was started again")
        again = json.loads(self.await_gate("ids"))
        self.assertFalse(set(again) & set(children))
        self.open_gate("end")
        for child in again:
            self.wait(child)
        self.open_gate("outer")
        shown = self.wait(outer)
        self.assertEqual((shown["attempt"], shown["status"]), (2, "Completed"))
        self.ok("fsck")
