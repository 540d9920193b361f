"""`runner doctor` and the smallest commands: --version, --help."""
from support import settings
from support.case import RunnerTest


class Doctor(RunnerTest):
    def test_json_has_a_row_per_check_and_the_sandbox_works_here(self):
        result = self.runner("doctor", "--json")
        items = result.json["items"]
        for row in items:
            self.assertEqual(sorted(row), ["detail", "name", "remedy", "works"])
            self.assertIsInstance(row["works"], bool)
            self.assertTrue(row["name"])
            if row["works"]:
                self.assertEqual(row["remedy"], "")
            else:
                self.assertTrue(row["remedy"], row)
        rows = {row["name"]: row for row in items}
        runtimes = [settings.RUNTIME] if settings.RUNTIME else ["crun", "runc"]
        self.assertTrue(any(rows[name]["works"] for name in runtimes if name in rows), items)
        self.assertTrue(rows["user namespaces"]["works"], rows["user namespaces"])

    def test_for_people_every_check_is_shown(self):
        rows = self.runner("doctor", "--json").json["items"]
        text = self.runner("doctor").text
        for row in rows:
            self.assertIn(row["name"], text)

    def test_what_does_not_work_is_told_with_its_remedy(self):
        home = self.make_home()
        self.addCleanup(home.close)
        home.runtime = "/nonexistent/crun"
        bad = [row for row in home.run("doctor", "--json").json["items"] if not row["works"]]
        self.assertTrue(bad)
        text = home.run("doctor").text
        for row in bad:
            self.assertIn(row["name"], text)
            self.assertIn(row["remedy"].split("\n")[0], " ".join(text.split()) if row["remedy"] not in text else text)

    def test_version_and_help_need_no_daemon(self):
        home = self.make_home()
        self.addCleanup(home.close)
        self.assertRegex(home.run("--version").text, r"^runner \d+\.\d+\.\d+\n$")
        for arguments in (["--help"], ["submit", "--help"], ["run", "list", "--help"]):
            result = home.run(*arguments)
            self.assertEqual(result.code, 0, result.describe())
            self.assertIn("runner", result.text)
        self.assertIsNone(home.daemon_pid())
