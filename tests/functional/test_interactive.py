"""Runs that live in a process of the user's: start_logging, with children, files, an end that is told and one that is not."""
import os
import signal
import uuid

from support.driver_case import DriverTest
from support.waiting import wait_until


class Interactive(DriverTest):
    def test_a_with_block_is_a_run_with_metrics_outputs_and_a_snapshot(self):
        self.write("train.py", "print('code')\n")
        self.write("results/model.bin", "model")
        self.write("results/link", "")
        os.remove(os.path.join(self.project, "results/link"))
        os.symlink("/etc/passwd", os.path.join(self.project, "results/link"))
        facts = self.drive("""
            with Experiment("notebook").start_logging(outputs="results", display_name="first", tags={"t": "1"}, properties={"p": "v"}) as run:
                run.log("loss", 0.5)
                run.log("loss", 0.25)
                run.log_list("all", [1, 2])
                run.upload_file("plots/a.txt", __import__("io").BytesIO(b"drawn"))
                run.tag("later")
                read = run.get_metrics()
                kind = run.get_details()["kind"]
            print(json.dumps({"id": run.id, "read": read, "kind": kind, "status": run.get_status()}))
            """)
        self.assertEqual((facts["read"], facts["kind"], facts["status"]), ({"loss": [0.5, 0.25], "all": [1, 2]}, "interactive", "Completed"))
        shown = self.show(facts["id"])
        self.assertEqual((shown["experiment"], shown["name"], shown["status"], shown["kind"]), ("notebook", "first", "Completed", "interactive"))
        self.assertEqual(shown["tags"], {"t": "1", "later": None})
        self.assertEqual(shown["properties"]["p"], "v")
        self.assertTrue(shown["snapshotId"])
        self.assertEqual([file["name"] for file in shown["outputs"]], ["outputs/model.bin"])
        self.assertIn("outputs/link: symbolic link", "\n".join(shown["notices"]))
        self.assertEqual(self.file_of(facts["id"], "plots/a.txt"), b"drawn")
        self.assertTrue(os.path.exists(os.path.join(self.project, "results/model.bin")))
        wait_until(lambda: not os.path.exists(self.home.run_directory(facts["id"])), "its directory goes")
        self.ok("run", "restore", facts["id"], self.project + "/again")
        self.assertTrue(os.path.exists(self.project + "/again/train.py"))
        self.ok("fsck")

    def test_an_exception_fails_it(self):
        facts = self.drive("""
            try:
                with Experiment("notebook").start_logging(snapshot_directory=None) as run:
                    raise ValueError("no good")
            except ValueError:
                print(json.dumps(run.id))
            """)
        shown = self.show(facts)
        self.assertEqual((shown["status"], shown["snapshotId"]), ("Failed", None))
        self.assertIn("no good", shown["error"]["message"])

    def test_a_process_that_ends_without_a_word_is_noticed(self):
        driver = self.start_driver("""
            run = Experiment("notebook").start_logging(snapshot_directory=None)
            child = run.child_run("fold")
            child.log("loss", 1)
            run.log("last", 7)
            tell("begun", [run.id, child.id])
            await_("never")
            """)
        run, child = self.told_value("begun")
        driver.kill()
        shown = self.until_status(run, "Failed", deadline=15)
        self.assertEqual((shown["outcome"]["kind"], shown["metrics"]), ("lost", {"last": 7}))
        self.assertIn("process", shown["error"]["message"])
        shown = self.show(child)
        self.assertEqual((shown["status"], shown["statusReason"], shown["metrics"]), ("Canceled", "its parent ended", {"loss": 1}))

    def test_a_daemon_that_dies_in_between_costs_nothing(self):
        driver = self.start_driver("""
            with Experiment("notebook").start_logging(snapshot_directory=None) as run:
                run.log("x", 1)
                tell("begun", run.id)
                await_("away")
                run.log("x", 2)
                run.upload_file("file", __import__("io").BytesIO(b"made while it was away"))
                tell("logged")
                await_("end")
            """)
        run = self.told_value("begun")
        self.home.kill_daemon()
        self.open_gate("away")
        self.await_gate("logged")
        wait_until(lambda: self.show(run)["metrics"] == {"x": [1, 2]}, "what was logged meanwhile is there")
        self.assertEqual(self.show(run)["status"], "Running")
        self.home.kill_daemon()
        self.open_gate("end")
        driver.finish()
        shown = self.show(run)
        self.assertEqual((shown["status"], shown["notices"]), ("Completed", []))
        self.assertEqual(self.file_of(run, "file"), b"made while it was away")

    def test_a_process_that_ends_while_the_daemon_is_away_is_noticed_when_it_is_back(self):
        driver = self.start_driver("""
            run = Experiment("notebook").start_logging(snapshot_directory=None)
            tell("begun", run.id)
            await_("away")
            run.log("x", 1)
            os.kill(os.getpid(), 9)
            """)
        run = self.told_value("begun")
        self.home.kill_daemon()
        self.open_gate("away")
        driver.process.wait()
        shown = self.until_status(run, "Failed", deadline=10)
        self.assertEqual((shown["outcome"]["kind"], shown["metrics"]), ("lost", {"x": 1}))

    def test_children_of_an_interactive_run(self):
        facts = self.drive("""
            with Experiment("sweep").start_logging(snapshot_directory=None) as run:
                with run.child_run("one") as one:
                    one.log("loss", 0.5)
                    one.upload_file("m", __import__("io").BytesIO(b"of one"))
                many = run.create_children(tag_key="lr", tag_values=[0.1, 0.2, 0.3])
                for number, child in enumerate(many):
                    child.log("loss", number)
                many[0].complete()
                many[1].fail("bad", error_code="Diverged")
                found = [child.id for child in run.get_children(tags={"lr": "0.2"})]
                metrics = run.get_metrics(recursive=True)
            print(json.dumps({"run": run.id, "one": one.id, "many": [child.id for child in many], "found": found, "metrics": metrics,
                              "status": [child.get_status() for child in many]}))
            """)
        self.assertEqual(facts["found"], [facts["many"][1]])
        self.assertEqual(facts["status"], ["Completed", "Failed", "Completed"])
        wanted = {facts["one"]: {"loss": 0.5}}
        wanted.update({child: {"loss": number} for number, child in enumerate(facts["many"])})
        self.assertEqual(facts["metrics"], wanted)
        self.assertEqual(self.file_of(facts["one"], "m"), b"of one")
        self.assertEqual(self.show(facts["many"][1])["error"]["code"], "Diverged")
        self.assertEqual(self.show(facts["one"])["name"], self.show(facts["run"])["name"] + ">one")

    def test_asking_again_gives_the_same_run_and_another_process_gets_none(self):
        driver = self.start_driver("""
            from runner_sdk._place import control_client
            from runner_sdk._submitting import start_ticks
            from runner_sdk._errors import Conflict, Invalid, PermissionDenied
            client = control_client()
            def ask(**more):
                wanted = {"id": ID, "experiment": "e", "process": {"pid": os.getpid(), "startTicks": start_ticks()}}
                return client.ask("POST", "/v1/interactive", dict(wanted, **more), timeout=None)
            first, second = ask(), ask()
            refused = []
            for wrong in (dict(process={"pid": os.getpid(), "startTicks": 1}), dict(experiment="no/name"),
                          dict(process={"pid": os.getppid(), "startTicks": start_of(os.getppid())})):
                try:
                    ask(**dict({"id": str(__import__("uuid").uuid4())}, **wrong))
                    refused.append("taken")
                except Exception as error:
                    refused.append(type(error).__name__)
            tell("begun", [first, second, refused])
            await_("end")
            """.replace("ID,", repr(str(uuid.uuid4())) + ",").replace("client = ", """
            def start_of(pid):
                return int(open("/proc/%d/stat" % pid).read().rpartition(")")[2].split()[19])
            client = """))
        first, second, refused = self.told_value("begun")
        self.assertEqual(first["journal"], second["journal"])
        self.assertTrue(os.path.samefile(first["artifacts"], self.home.run_directory(first["runId"]) + "/io/artifacts"))
        self.assertEqual(first["runId"], second["runId"])
        self.assertEqual(len([run for run in self.runs() if run["runId"] == first["runId"]]), 1)
        self.assertEqual(refused, ["Invalid", "Invalid", "PermissionDenied"])
        process = {"pid": driver.process.pid, "startTicks": 1}
        with open("/proc/%d/stat" % driver.process.pid) as file:
            process["startTicks"] = int(file.read().rpartition(")")[2].split()[19])
        message = self.refused(403, "POST", "/v1/interactive", {"experiment": "e", "process": process})  # curl asks
        self.assertIn("did not ask", message)
        self.open_gate("end")
        driver.finish()
        self.until_status(first["runId"], "Failed", deadline=15)

    def test_it_can_be_cancelled_and_its_process_goes_on(self):
        driver = self.start_driver("""
            run = Experiment("notebook").start_logging(snapshot_directory=None)
            run.log("x", 1)
            tell("begun", run.id)
            await_("end")
            tell("alive")
            """)
        run = self.told_value("begun")
        self.ok("cancel", run)
        shown = self.show(run)
        self.assertEqual((shown["status"], shown["metrics"]), ("Canceled", {"x": 1}))
        self.open_gate("end")
        self.await_gate("alive")
        driver.finish()

    def test_a_stopped_daemon_with_cancel_runs_ends_it(self):
        self.start_driver("""
            run = Experiment("notebook").start_logging(snapshot_directory=None)
            tell("begun", run.id)
            await_("never")
            """)
        run = self.told_value("begun")
        self.ok("daemon", "stop", "--cancel-runs")
        self.assertEqual(self.show(run)["status"], "Canceled")

    def test_its_process_ends_by_a_signal_to_a_whole_group(self):
        driver = self.start_driver("""
            run = Experiment("notebook").start_logging(snapshot_directory=None, outputs=".")
            open("left.txt", "w").write("left")
            tell("begun", run.id)
            await_("never")
            """)
        run = self.told_value("begun")
        os.killpg(driver.process.pid, signal.SIGTERM)
        shown = self.until_status(run, "Failed", deadline=15)
        self.assertIn("outputs/left.txt", [file["name"] for file in shown["outputs"]])
