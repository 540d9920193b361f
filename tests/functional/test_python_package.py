"""`import runner` inside a run, without installing anything, and what it does outside of one."""
import os

from support import settings
from support.case import RunnerTest
from support.settings import only_in


class Inside(RunnerTest):
    def test_both_names_are_the_same_package_and_know_the_run(self):
        facts = self.python_facts("import runner, runner_sdk\nfacts['same'] = runner.log is runner_sdk.log\nfacts['id'] = runner.run_id()\n")
        self.assertEqual(facts, {"same": True, "id": self.show()["runId"]})

    def test_a_projects_own_module_wins_and_the_other_name_still_works(self):
        self.write("runner.py", "NAME = 'mine'\n")
        self.assertEqual(self.submit_python("import runner, runner_sdk\nrunner_sdk.log('x', 1)\nprint(runner.NAME)\n").text, "mine\n")
        self.assertEqual(self.show()["metrics"], {"x": 1})

    def test_metrics_of_forked_and_started_processes_all_arrive(self):
        self.write("child.py", "import runner, sys\nfor n in range(100): runner.log('points', int(sys.argv[1]) * 1000 + n)\n")
        self.submit_python("""\
            import os, subprocess, sys, threading
            import runner
            children = [subprocess.Popen([sys.executable, "child.py", "7"])]
            for worker in range(4):
                pid = os.fork()
                if pid == 0:
                    for n in range(500):
                        runner.log("points", worker * 1000 + n, step=n)
                    os._exit(0)
            threads = [threading.Thread(target=lambda: [runner.log("threads", n) for n in range(200)]) for _ in range(4)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            for child in children: child.wait()
            for _ in range(4): os.wait()
            """)
        points = [p["value"] for p in self.ok("run", "metrics", "@last", "--name", "points", "--json").json["items"]]
        wanted = [w * 1000 + n for w in range(4) for n in range(500)] + [7000 + n for n in range(100)]
        self.assertEqual(sorted(points), sorted(wanted))
        for worker in range(4):  # each one's own order is kept
            own = [p for p in points if p // 1000 == worker]
            self.assertEqual(own, sorted(own))
        rows = {row["name"]: row["count"] for row in self.ok("run", "metrics", "@last", "--json").json["items"]}
        self.assertEqual(rows, {"points": 2100, "threads": 800})

    def test_a_long_series_is_thinned_in_show_and_complete_in_metrics(self):
        self.submit_python("import runner\nfor n in range(5000): runner.log('long', n)\n")
        run = self.show()
        self.assertEqual(run["metricsThinned"], ["long"])
        values = run["metrics"]["long"]
        self.assertLessEqual(len(values), 1000)
        self.assertEqual((values[0], values[-1]), (0, 4999))
        self.assertEqual(len(self.ok("run", "metrics", "@last", "--name", "long", "--json").json["items"]), 5000)

    def test_metrics_are_seen_while_the_run_lives(self):
        from support.waiting import wait_until
        run_id = self.detach_gated("import runner\nrunner.log('live', 1)\ntell('logged')\nawait_('go')\nrunner.log('live', 2)\n")
        self.await_gate("logged")
        wait_until(lambda: self.show(run_id)["metrics"] == {"live": 1}, "the metric is seen", 5)
        self.open_gate("go")
        self.assertEqual(self.wait(run_id)["metrics"], {"live": [1, 2]})

    def test_a_damaged_journal_costs_only_what_is_damaged(self):
        self.submit_python("""\
            import os, runner
            runner.log("good", 1)
            with open(os.environ["RUNNER_METRICS"], "ab") as journal:
                journal.write(b"\\x1e{torn\\n\\x00\\xff garbage \\x1e[1,2]\\n\\x1e{\\"metric\\": 5}\\n")
            runner.log("good", 2)
            """)
        run = self.show()
        self.assertEqual(run["metrics"], {"good": [1, 2]})
        self.assertTrue(run["notices"])

    def test_a_journal_that_is_removed_or_replaced_does_not_spoil_the_run(self):
        self.submit_python("""\
            import os, runner
            runner.log("good", 1)
            path = os.environ["RUNNER_METRICS"]
            os.remove(path)
            os.symlink("/etc/passwd", path)
            """)
        self.assertEqual(self.show()["status"], "Completed")

    @only_in("sandbox")
    def test_a_venv_and_a_shell_script_can_use_it_too(self):
        directory = self.home.new_project() + "/venv"
        self.home.call(settings.PYTHON, "-m", "venv", "--without-pip", directory)
        self.write("job.sh", directory + "/bin/python -c \"import runner; runner.log('from', 'venv')\"\n")
        self.submit("--python", directory + "/bin/python", "job.sh")
        self.assertEqual(self.show()["metrics"], {"from": "venv"})


class Outside(RunnerTest):
    def test_it_prints_and_goes_on(self):
        package = os.path.join(settings.SOURCE_ROOT, "tools", "python", "src")
        copied = os.path.join(self.home.base, "package")
        import shutil
        shutil.copytree(package, copied, ignore=shutil.ignore_patterns("__pycache__"))
        self.account.own(copied)
        result = self.home.call(settings.PYTHON, "-c", "import runner\nprint(runner.run_id())\nrunner.log('loss', 0.5, step=3)\nprint('on')",
                                environment={"PYTHONPATH": copied})
        self.assertEqual(result.code, 0, result.describe())
        lines = result.text.splitlines()
        self.assertEqual((lines[0], lines[-1]), ("None", "on"))
        self.assertIn("loss", lines[1])
        self.assertIn("0.5", lines[1])
