"""Finding runs again: lists and their filters, every way to name a run, waiting for several, idempotency keys."""
import os

from support.case import RunnerTest


class Lists(RunnerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        case = cls.for_the_class()
        token = cls.home.token
        cls.first, cls.second = "alpha-" + token, "beta-" + token
        case.write("main.py", "import sys\nsys.exit(int(sys.argv[1]))\n")
        cls.ids = [case.detach("-e", cls.first, "--tag", "quality=good", "--tag", "seen", "main.py", "0"),
                   case.detach("-e", cls.first, "--tag", "quality=bad", "--property", "kind=x", "main.py", "1"),
                   case.detach("-e", cls.second, "--property", "kind=y", "main.py", "0")]
        for run_id, code in zip(cls.ids, (0, 1, 0)):
            case.ok("wait", run_id, code=code)

    def found(self, *filters):
        return [self.ids.index(run["runId"]) for run in self.ok("run", "list", *filters, "--json").json["items"]]

    def test_the_newest_comes_first(self):
        self.assertEqual(self.found(), [2, 1, 0])

    def test_by_experiment(self):
        self.assertEqual(self.found("-e", self.first), [1, 0])

    def test_by_status(self):
        self.assertEqual(self.found("--status", "Failed"), [1])
        self.assertEqual(self.found("--status", "Running"), [])

    def test_by_tag_and_its_value(self):
        self.assertEqual(self.found("--tag", "quality"), [1, 0])
        self.assertEqual(self.found("--tag", "quality=good"), [0])
        self.assertEqual(self.found("--tag", "seen"), [0])
        self.assertEqual(self.found("--tag", "quality=good", "--tag", "seen"), [0])

    def test_by_property(self):
        self.assertEqual(self.found("--property", "kind=y"), [2])
        self.assertEqual(self.found("--property", "kind"), [2, 1])

    def test_the_last_n_and_all(self):
        self.assertEqual(self.found("--last", "2"), [2, 1])
        self.assertEqual(self.found("--all"), [2, 1, 0])

    def test_since(self):
        self.assertEqual(self.found("--since", "1h"), [2, 1, 0])
        self.assertEqual(self.found("--since", "2100-01-01T00:00:00Z"), [])

    def test_conditions_are_combined(self):
        self.assertEqual(self.found("-e", self.first, "--status", "Completed"), [0])

    def test_ls_is_the_same_and_people_see_ids_and_statuses(self):
        text = self.ok("ls").text
        for run_id, status in zip(self.ids, ("Completed", "Failed", "Completed")):
            self.assertTrue(any(run_id[-8:] in line and status in line for line in text.splitlines()), text)

    def test_a_run_is_named_by_id_prefix_tail_or_position(self):
        run_id = self.ids[2]
        for name in (run_id, run_id[:-3], run_id[-8:], "@last"):
            with self.subTest(name):
                self.assertEqual(self.show(name)["runId"], run_id)
        self.assertEqual(self.show("@last-1")["runId"], self.ids[1])
        self.assertEqual(self.show("@last-2")["runId"], self.ids[0])
        self.assertEqual(self.ok("show", "--json", run_id).json["runId"], run_id)

    def test_an_ambiguous_name_is_an_error_that_lists_the_matches(self):
        result = self.runner("run", "show", self.first)
        self.assert_error(result, 2, self.ids[0], self.ids[1], hint=False)
        self.assertNotIn(self.ids[2], result.err)

    def test_a_name_that_matches_nothing_is_not_found(self):
        for name in ("nothing-like-this", "@last-50", "00000000"):
            for command in ("show", "logs", "wait", "cancel", "files"):
                with self.subTest((name, command)):
                    self.assertEqual(self.runner("run", command, name).code, 3)


class Waiting(RunnerTest):
    def test_wait_waits_for_all(self):
        running = self.detach_gated("tell('running')\nawait_('go')\nsys.exit(3)\n")
        self.await_gate("running")
        queued = self.detach_python("import sys\nsys.exit(4)\n")
        waiting = self.home.background("wait", queued, running)
        self.assertIsNone(waiting.process.poll())
        self.open_gate("go")
        self.assertEqual(waiting.finish().code, 4)

    def test_the_first_exit_code_that_is_not_zero_counts_in_argument_order(self):
        self.write("main.py", "import sys\nsys.exit(int(sys.argv[1]))\n")
        seven, eight, zero = (self.detach("main.py", code) for code in ("7", "8", "0"))
        self.ok("wait", zero, seven, eight, code=7)
        self.ok("wait", eight, zero, seven, code=8)
        self.ok("wait", zero, zero)

    def test_a_higher_priority_goes_first(self):
        blocker = self.detach_gated("tell('running')\nawait_('go')\n")
        self.await_gate("running")
        low = self.detach_python("pass\n")
        high = self.detach_python("pass\n", "--priority", "5")
        self.open_gate("go")
        for run in (blocker, low, high):
            self.wait(run)
        self.assertLess(self.show(high)["startTimeUtc"], self.show(low)["startTimeUtc"])


class Idempotency(RunnerTest):
    def test_the_same_key_gives_the_same_run_also_after_it_has_ended_and_after_a_restart(self):
        first = self.detach_python("print(1)\n", "--idempotency-key", "k")
        self.assertEqual(self.detach("--idempotency-key", "k", "main.py"), first)
        self.wait(first)
        self.home.kill_daemon()
        self.assertEqual(self.detach("--idempotency-key", "k", "main.py"), first)
        self.assertEqual(len(self.runs("-e", self.show(first)["experiment"])), 1)

    def test_the_same_key_with_other_content_is_a_conflict(self):
        self.submit_python("pass\n", "--idempotency-key", "other")
        before = self.runs()
        self.assert_error(self.runner("submit", *self.isolation_options(), "--idempotency-key", "other", "main.py", "argument"), 4, "other",
                          self.show()["runId"])
        self.assert_no_new_run(before)
