"""Escape sequences in whatever a user, a script or a repository may name: on a terminal they are text, wherever they turn up."""
import json
import os
import re

from support.case import RunnerTest
from support.on_terminal import OnTerminal

# A title, the clipboard, an answer typed into the shell, the screen, C1 forms, a bell, a backspace, bidirectional overrides.
NASTY = "n\x1b]0;owned\x07\x1b]52;c;aGk\x1b\\\x1b[6n\x1b[2J\x9b31m\x9d0;x\x9c\x08\x7f\r\u202egpj.exe\u2066\ufeffz"
STYLE = re.compile(rb"\x1b\[[0-9;]*m|\r\x1b\[K")  # our own colours and the row that a progress line takes back
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


class HostileNames(OnTerminal, RunnerTest):
    def assert_harmless(self, seen, *shown):
        text = STYLE.sub(b"", seen).decode(errors="replace").replace("\r\n", "\n")
        found = HARMFUL.search(text)
        self.assertIsNone(found, "%r in %r" % (found and found.group(), found and text[max(0, found.start() - 200):found.end() + 50]))
        for part in shown:
            self.assertIn(part, text)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        case = cls.for_the_class()
        cls.directory = case.project
        cls.file_name = NASTY.replace("/", "")
        cls.files = {}
        script = """\
            import os, runner, sys
            nasty = %r
            for place in ("outputs", "logs", "outputs/" + nasty):
                os.makedirs(place, exist_ok=True)
                open(place + "/" + nasty + ".txt", "w").write(nasty)
            os.symlink("/etc/" + nasty, "outputs/link" + nasty)
            os.mkfifo("outputs/fifo" + nasty)
            open(b"outputs/\\xff\\x1b[2J", "w").close()
            runner.log("loss" + nasty, 1.0)
            print(nasty)
            """ % NASTY
        definition = {"experiment": "e" + NASTY, "name": "name" + NASTY, "tags": {"t" + NASTY: "v" + NASTY, "k" + NASTY: None},
                      "properties": {"p" + NASTY: "q" + NASTY}, "environmentVariables": {"V": NASTY}, "arguments": ["a" + NASTY]}
        case.write("main.py", script)
        case.write(".amlignore", "ignored*\n")
        case.write("ignored" + NASTY, "x")
        case.write("source" + NASTY + ".txt", "one\n")
        cls.first, cls.fields = cls.submit_all(case, definition)
        case.write("source" + NASTY + ".txt", "two " + NASTY + "\n")
        cls.second, _ = cls.submit_all(case, definition)

    @staticmethod
    def submit_all(case, definition):
        """A run with every field that may be set; those that a submission refuses are left out, one by one."""
        definition = dict(definition)
        options = ["-E", "V=" + definition["environmentVariables"]["V"]]
        for name, value in definition["tags"].items():
            options += ["--tag", name + ("=" + value if value is not None else "")]
        for name, value in definition["properties"].items():
            options += ["--property", name + "=" + value]
        optional = [["-e", definition["experiment"]], ["--name", definition["name"]]]
        fields = []
        for option in optional:
            probe = case.runner("submit", *case.isolation_options(), "--dry-run", *option, "main.py")
            fields.append(option[0] if probe.code == 0 else "")
            options += option if probe.code == 0 else []
        case.submit(*options, "main.py", *definition["arguments"])
        return case.show()["runId"], fields

    def setUp(self):
        super().setUp()
        self.project = self.directory

    def test_the_run_is_as_hostile_as_it_should_be(self):
        run = self.show(self.second)
        self.assertIn("t" + NASTY, run["tags"])
        self.assertEqual(run["properties"]["p" + NASTY], "q" + NASTY)
        self.assertIn("--name", self.fields)
        self.assertIn("outputs/%s.txt" % NASTY, [o["name"] for o in run["outputs"]])
        self.assertTrue(run["notices"])

    def test_lists_and_pages_show_them_as_text(self):
        for arguments in (["ls"], ["ls", "--all"], ["show", self.second], ["run", "files", self.second], ["run", "metrics", self.second],
                          ["run", "metrics", "--name", "loss" + NASTY, self.second], ["experiment", "list"], ["run", "children", self.first], ["queue", "list"],
                          ["logs", self.second], ["logs", "--name", "logs/%s.txt" % NASTY, self.second], ["wait", self.second], ["daemon", "logs"],
                          ["run", "diff", self.first, self.second], ["run", "diff", "--code", self.first, self.second], ["run", "diff", "--params", self.first, self.second],
                          ["snapshot", "ls-files", self.project], ["snapshot", "explain", "ignored" + NASTY, "source" + NASTY + ".txt"],
                          ["snapshot", "show", self.second], ["env", "list"], ["submit", *self.isolation_options(), "--dry-run", "--name", "n" + NASTY, "main.py", NASTY]):
            with self.subTest(" ".join(arguments).encode("unicode_escape").decode()[:100]):
                self.assert_harmless(self.on_terminal(*arguments, columns=1000, errors=True))

    def test_on_a_terminal_json_is_harmless_and_the_same_document(self):
        for arguments in (["show", "--json", self.second], ["ls", "--json"], ["run", "files", "--json", self.second]):
            with self.subTest(arguments[0]):
                seen = self.on_terminal(*arguments, columns=1000)
                self.assert_harmless(seen)
                self.assertEqual(json.loads(seen), self.ok(*arguments).json)

    def test_a_followed_submit_and_its_notices_are_harmless(self):
        self.assert_harmless(self.on_terminal("submit", *self.isolation_options(), "--name", "n" + NASTY, "main.py", columns=200, errors=True))

    def test_reasons_are_harmless(self):
        run_id = self.detach("--command", "sleep 600")
        seen = self.on_terminal("cancel", "--reason", "because " + NASTY, run_id, errors=True)
        self.assert_harmless(seen)
        self.ok("wait", run_id, code=130)
        self.assertIn(NASTY.replace("\r", ""), self.show(run_id)["outcome"]["message"].replace("\r", ""))
        for arguments in (["show", run_id], ["ls"]):
            self.assert_harmless(self.on_terminal(*arguments, columns=1000), "because")
        self.assert_harmless(self.on_terminal("wait", run_id, code=130, errors=True))

    def test_error_lines_are_harmless(self):
        for arguments, code in ((["show", NASTY], 3), (["logs", "--name", NASTY, self.second], 3), (["bad" + NASTY], 2), (["submit", "no" + NASTY + ".py"], 2),
                                (["submit", "--memory", NASTY, "main.py"], 2), (["submit", "--mount", "/" + NASTY + ":/x", "main.py"], 2),
                                (["submit", "--bad" + NASTY], 2), (["run", "restore", self.second, "/proc/no/such/" + NASTY], 3),
                                (["submit", "--secret", "X" + NASTY, "main.py"], 2),
                                (["submit", "-c", NASTY, "main.py"], 2), (["submit", "--image", NASTY, "main.py"], 2), (["env", "show", NASTY], 3)):
            for json_option in ([], ["--json"]):
                with self.subTest(" ".join(arguments + json_option).encode("unicode_escape").decode()[:100]):
                    self.assert_harmless(self.on_terminal(*json_option, *arguments, columns=1000, errors=True, code=code))

    def test_what_a_command_says_inside_of_a_run_is_harmless(self):
        run_id = self.detach_gated("tell('running')\nawait_('go')\n")
        self.await_gate("running")
        words = ("run", "exec", run_id, "--", "python3", "-c", "import sys; sys.stdout.write(%r); sys.stdout.flush(); sys.stderr.write('e' + %r)" % ((NASTY.replace("\r", ""),) * 2))
        seen = self.on_terminal(*words, errors=True)
        raw = self.on_terminal(words[0], words[1], "--raw", *words[2:], errors=True)
        self.open_gate("go")
        self.wait(run_id)
        self.assert_harmless(seen, "^[]0;owned^G")
        self.assertIn(b"\x1b]0;owned\x07", raw)

    def test_downloads_of_such_names_stay_below_their_directory(self):
        directory = self.home.new_project()
        self.assert_harmless(self.on_terminal("run", "download", self.second, "-d", directory, errors=True, columns=1000))
        self.assertTrue(os.path.exists(directory + "/outputs/" + NASTY + ".txt"))
        self.assertEqual(os.listdir(directory), [name for name in os.listdir(directory) if name in ("outputs", "logs", "user_logs", "system_logs", "git")])
