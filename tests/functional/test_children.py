"""What may change of runs, their children, how those end, and that runs go from the history."""
import json
import uuid

from support.driver_case import DriverTest
from support.waiting import wait_until


class Parent(DriverTest):
    """Tests with a script's run that lives until it is let go."""

    def setUp(self):
        super().setUp()
        self.run_id = self.detach_gated('tell("ready")\nawait_("end")\nsys.exit(int(open("/gate/end").read() or 0))\n')
        self.await_gate("ready")
        self.addCleanup(self.open_gate, "end")

    def end_parent(self, code=0):
        self.home.write(self.gate + "/end.new", str(code))
        self.home.call("mv", self.gate + "/end.new", self.gate + "/end")
        return self.wait(self.run_id, code=code)

    def children(self, *children, parent=None, status=200):
        return self.ask("POST", "/v1/runs/%s/children" % (parent or self.run_id), {"children": list(children)}, status)

    def end(self, run, status, code=200, **more):
        return self.ask("POST", "/v1/runs/%s/end" % run, {"status": status, **more}, code)


class Changes(Parent):
    def patch(self, answered=200, **change):
        return self.ask("PATCH", "/v1/runs/" + self.run_id, change, answered)

    def test_name_tags_and_properties_change_together_or_not_at_all(self):
        changed = self.patch(name="better", tags={"a": "1", "bare": None}, properties={"p": "1"})
        self.assertEqual((changed["name"], changed["tags"]), ("better", {"a": "1", "bare": None}))
        self.assertEqual(changed["properties"]["p"], "1")
        self.patch(properties={"p": "1"})
        message = self.patch(409, name="worse", tags={"a": "2"}, properties={"p": "2", "q": "1"})["error"]["message"]
        self.assertIn("'p'", message)
        shown = self.show(self.run_id)
        self.assertEqual((shown["name"], shown["tags"]), ("better", {"a": "1", "bare": None}))
        self.assertNotIn("q", shown["properties"])
        self.assertEqual(self.patch(tags={"a": "3"}, removeTags=["bare", "none"])["tags"], {"a": "3"})
        self.patch(400, status="Failed")
        self.end_parent()
        ended = self.patch(name="named later", tags={"late": "yes"}, properties={"late": "1"})
        self.assertEqual((ended["name"], ended["tags"]["late"], ended["properties"]["late"]), ("named later", "yes", "1"))
        self.assertEqual([run["runId"] for run in self.runs("--tag", "late=yes")], [self.run_id])
        self.ok("fsck")

    def test_what_a_run_may_be_told_is_bounded_and_an_end_is_not_refused_for_its_words(self):
        for change, words in (({"name": "n" * 1025}, "'name' is longer than 1024 bytes"), ({"tags": {"k" * 257: ""}}, "256 bytes"),
                              ({"tags": {"k": "v" * 8193}}, "'k' is longer than 8192 bytes"),
                              ({"properties": {str(n): "" for n in range(1001)}}, "'properties' has more than 1000")):
            self.assertIn(words, self.patch(400, **change)["error"]["message"])
        self.patch(tags={str(n): "" for n in range(1000)})
        self.assertIn("no more than 1000", self.patch(400, tags={"more": ""})["error"]["message"])
        self.assertEqual(len(self.show(self.run_id)["tags"]), 1000)
        child = self.children({"tags": {"k": "v"}})["items"][0]["runId"]
        message = self.end(child, "Failed", error={"message": "é" * 9000})["error"]["message"]
        self.assertLessEqual(len(message.encode()), 4096)
        self.assertTrue(message.endswith("é…"))
        self.ask("POST", "/v1/runs/%s/cancel" % self.run_id, {"reason": "r" * 9000})
        self.wait(self.run_id, code=None)
        reason = self.show(self.run_id)["statusReason"]
        self.assertIn("r" * 4093 + "…", reason)
        self.assertNotIn("r" * 4094, reason)

    def test_a_change_is_kept_by_a_daemon_that_dies_at_once(self):
        self.patch(tags={"durable": "1"})
        self.home.kill_daemon()
        self.assertEqual(self.show(self.run_id)["tags"], {"durable": "1"})


class Children(Parent):
    def test_children_run_at_once_in_order_and_asking_again_changes_nothing(self):
        wanted = [{"id": str(uuid.uuid4()), "name": "fold", "tags": {"n": "1"}, "properties": {"p": "v"}}, {"id": str(uuid.uuid4())}]
        made = self.children(*wanted)["items"]
        self.assertEqual([child["runId"] for child in made], [child["id"] for child in wanted])
        parent = self.show(self.run_id)
        self.assertEqual([child["name"] for child in made], [parent["name"] + ">fold", parent["name"] + ">2"])
        for child in made:
            self.assertEqual((child["kind"], child["status"], child["parentRunId"], child["experiment"]),
                             ("child", "Running", self.run_id, parent["experiment"]))
        self.assertEqual((made[0]["tags"], made[0]["properties"]), ({"n": "1"}, {"p": "v"}))
        again = self.children(*wanted, {})["items"]
        self.assertEqual([child["runId"] for child in again[:2]], [child["id"] for child in wanted])
        self.assertEqual(again[2]["name"], parent["name"] + ">3")
        listed = self.ask("GET", "/v1/runs/%s/children" % self.run_id)["items"]
        self.assertEqual([child["runId"] for child in listed], [again[2]["runId"], wanted[1]["id"], wanted[0]["id"]])
        self.assertEqual([c["runId"] for c in self.ask("GET", "/v1/runs/%s/children?tag=n%%3D1&kind=child" % self.run_id)["items"]], [wanted[0]["id"]])
        self.refused(409, "POST", "/v1/runs/%s/children" % wanted[0]["id"], {"children": [{"id": wanted[1]["id"]}]})
        self.refused(400, "POST", "/v1/runs/%s/children" % self.run_id, {"children": [{"id": "mine"}]})
        self.refused(400, "GET", "/v1/runs/%s/children?parent=x" % self.run_id)
        self.ok("fsck")

    def test_children_without_code_of_their_own_are_compared_all_the_same(self):
        one, other = [child["runId"] for child in self.children({"tags": {"n": "1"}}, {})["items"]]
        found = self.ok("run", "diff", one, other, "--json").json
        self.assertEqual((found["before"], found["after"], found["parameters"]["items"], "code" in found), (one, other, [], False))
        self.assertEqual(self.runner("run", "diff", one, other, "--code").code, 3)

    def test_ten_thousand_children_are_one_request(self):
        made = self.children(*({"tags": {"n": str(n)}} for n in range(10000)))["items"]
        self.assertEqual(len(made), 10000)
        page = self.ask("GET", "/v1/runs/%s/children?limit=10" % self.run_id)
        self.assertEqual(len(page["items"]), 10)
        self.assertEqual(page["items"][0]["tags"], {"n": "9999"})
        self.assertTrue(page["nextToken"])
        self.end_parent()
        self.assertEqual(self.show(made[0]["runId"])["status"], "Completed")

    def test_a_list_is_a_page_and_every_reader_reads_on(self):
        made = {child["runId"] for child in self.children(*({} for _ in range(1200)))["items"]}
        path = "/v1/runs/%s/children" % self.run_id
        for more in ("?", "?limit=5000&"):
            first = self.ask("GET", path + more)
            self.assertEqual(len(first["items"]), 1000)
            rest = self.ask("GET", path + more + "nextToken=" + first["nextToken"])
            self.assertIsNone(rest["nextToken"])
            self.assertEqual({run["runId"] for run in first["items"] + rest["items"]}, made)
        self.assertEqual(len(self.ask("GET", "/v1/runs?children=1")["items"]), 1000)
        self.assertEqual({run["runId"] for run in self.ok("run", "children", self.run_id, "--json").json["items"]}, made)
        self.assertLess(made, {run["runId"] for run in self.runs("--children")})

    def test_a_child_ends_as_it_is_told_once(self):
        child, other = [item["runId"] for item in self.children({}, {})["items"]]
        grandchild = self.children({}, parent=child)["items"][0]["runId"]
        failed = self.end(other, "Failed", error={"code": "E", "message": "it broke"})
        self.assertEqual((failed["status"], failed["error"]["code"], failed["error"]["message"]), ("Failed", "E", "it broke"))
        self.end(other, "Failed")
        self.end(other, "Completed", 409)
        self.assertEqual(self.end(child, "Completed")["status"], "Completed")
        self.assertEqual(self.show(grandchild)["status"], "Completed")
        self.refused(409, "POST", "/v1/runs/%s/children" % child, {"children": [{}]})
        self.assertIn("script", self.end(self.run_id, "Completed", 409)["error"]["message"])
        self.end(other, "Running", 400)
        for action in ("pause", "exec"):
            self.refused(409, "POST", "/v1/runs/%s/%s" % (grandchild, action), {"command": ["true"]})

    def test_metrics_and_files_of_children_come_with_the_journal_of_their_script(self):
        child = self.children({"name": "fold"})["items"][0]["runId"]
        journal = self.home.run_directory(self.run_id) + "/io/metrics.jsonseq"
        files = self.home.run_directory(self.run_id) + "/io/artifacts/.run-" + child
        self.home.write(files + "/model", "bytes")
        def say(**record):
            with open(journal, "ab") as file:
                file.write(b"\x1e" + json.dumps(dict(record, time=1700000000000000, run=child)).encode() + b"\n")
        say(metric="loss", value=0.5)
        say(artifact="model", bytes=5)
        self.end(child, "Completed")  # what was logged before is taken in first
        shown = self.show(child)
        self.assertEqual(shown["metrics"], {"loss": 0.5})
        self.assertEqual(self.file_of(child, "model"), b"bytes")
        say(metric="loss", value=1)
        parent = self.end_parent()
        self.assertEqual(self.show(child)["metrics"], {"loss": 0.5})
        self.assertIn("1 record of runs that had ended", "\n".join(parent["notices"]))

    def test_children_that_are_open_when_their_parent_ends_end_with_it(self):
        child = self.children({})["items"][0]["runId"]
        waiter = self.home.background("wait", child)
        self.end_parent(code=3)
        waiter.finish()
        shown = self.show(child)
        self.assertEqual((shown["status"], shown["statusReason"]), ("Canceled", "its parent ended"))

    def test_a_cancelled_child_ends_at_once_and_its_parent_goes_on(self):
        child = self.children({})["items"][0]["runId"]
        self.ok("cancel", child)
        self.assertEqual(self.show(child)["status"], "Canceled")
        other = self.children({})["items"][0]["runId"]
        self.ask("POST", "/v1/runs/%s/fail" % other, {"reason": "no good"})
        shown = self.show(other)
        self.assertEqual((shown["status"], shown["error"]["message"]), ("Failed", "no good"))
        self.assertEqual(self.show(self.run_id)["status"], "Running")
        third = self.children({})["items"][0]["runId"]
        self.ok("cancel", self.run_id)
        self.until_status(self.run_id, "Canceled")
        self.assertEqual(self.show(third)["status"], "Canceled")

    def test_a_daemon_that_starts_again_leaves_children_as_they_are(self):
        child = self.children({})["items"][0]["runId"]
        self.home.kill_daemon()
        self.assertEqual(self.show(child)["status"], "Running")
        self.ok("fsck")
        self.home.kill_daemon()
        self.end_parent()
        self.assertEqual(self.show(child)["status"], "Completed")


class Deleting(Parent):
    def test_a_run_goes_with_all_below_it_once_all_have_ended(self):
        child = self.children({})["items"][0]["runId"]
        target = "/v1/runs/" + self.run_id
        self.refused(409, "DELETE", target)
        self.end_parent()
        self.assertEqual(sorted(self.ask("DELETE", target)["deleted"]), sorted([self.run_id, child]))
        self.refused(404, "GET", target)
        self.refused(404, "GET", "/v1/runs/" + child)
        self.refused(404, "DELETE", target)
        self.ok("fsck")
        self.home.kill_daemon()
        self.ok("fsck")
        self.assertNotIn(self.run_id, [run["runId"] for run in self.runs()])

    def test_a_run_that_another_waits_for_stays(self):
        waits = self.detach_python("pass\n", "--after", self.run_id)
        wait_until(lambda: self.show(waits)["status"] == "Queued", "it waits")
        self.ok("queue", "pause")
        self.addCleanup(self.ok, "queue", "resume", code=None)
        self.end_parent()
        self.assertIn(waits, self.refused(409, "DELETE", "/v1/runs/" + self.run_id))
        self.ok("queue", "resume")
        self.wait(waits)
        self.ask("DELETE", "/v1/runs/" + self.run_id)
