"""GPUs, out of a CDI file whose devices are harmless ones of this machine: what counts is how they are found, shared and
shown to a run. (NVIDIA's own are tested where there is one: the same code reads its file.)"""
import json
import os
import textwrap

from support import settings
from test_queue import QueueTest

LOOK = """
    import json, stat
    def look(name):
        path = "/dev/" + name
        if not os.path.exists(path):
            return None
        device = os.stat(path).st_rdev
        return [os.major(device), os.minor(device)]
    devices = {name: look(name) for name in ("fakegpu0", "fakegpu1", "fakectl")}
    if devices["fakegpu0"]:
        with open("/dev/fakegpu0", "rb") as file:
            assert file.read(3) == bytes(3)
    if devices["fakegpu1"]:
        os.close(os.open("/dev/fakegpu1", os.O_RDWR))
    tell("seen-" + sys.argv[1], json.dumps([devices, os.environ.get("FAKE_VISIBLE_DEVICES")]))
    await_("go-" + sys.argv[1])
"""
# Root's second one is none of those that every container may open.
OTHER = "/dev/fuse" if settings.USER == "root" else "/dev/full"
ZERO, SECOND, NULL = [1, 5], [10, 229] if settings.USER == "root" else [1, 7], [1, 3]


class GpuTest(QueueTest):
    def setUp(self):
        super().setUp()
        self.cdi = os.path.join(self.home.base, "cdi")
        nodes = lambda *pairs: [{"path": "/dev/" + path, "hostPath": host} for path, host in pairs]
        self.home.write(os.path.join(self.cdi, "fake.json"), json.dumps({
            "cdiVersion": "0.6.0", "kind": "fake.example/gpu",
            "devices": [
                {"name": "0", "containerEdits": {"deviceNodes": nodes(("fakegpu0", "/dev/zero"))}},
                {"name": "GPU-zero", "containerEdits": {"deviceNodes": nodes(("fakegpu0", "/dev/zero"))}},
                {"name": "1", "containerEdits": {"deviceNodes": nodes(("fakegpu1", OTHER))}},
                {"name": "all", "containerEdits": {"deviceNodes": nodes(("fakegpu0", "/dev/zero"), ("fakegpu1", OTHER))}}],
            "containerEdits": {"env": ["FAKE_VISIBLE_DEVICES=void"], "deviceNodes": nodes(("fakectl", "/dev/null")),
                               "hooks": [{"hookName": "createContainer", "path": "/bin/false", "args": ["false"]}]}}), 0o644)
        self.home.configure('cdi_dirs = ["%s"]\n' % self.cdi + self.more_configuration)

    more_configuration = "parallel = 4\n"

    def looking(self, name, *options):
        self.write("main.py", "import os, sys, time\n" + textwrap.dedent(
            '''
            def tell(name, text=""):
                open("/gate/" + name + ".new", "w").write(text)
                os.rename("/gate/" + name + ".new", "/gate/" + name)
            def await_(name):
                while not os.path.exists("/gate/" + name):
                    time.sleep(0.005)
            ''') + textwrap.dedent(LOOK))
        return self.detach(*self.with_gate, *options, "main.py", name)

    def seen(self, name):
        return json.loads(self.await_gate("seen-" + name))


class InTheSandbox(GpuTest):
    def test_a_run_sees_those_that_it_has_and_no_other(self):
        one = self.looking("one", "--gpus", "1")
        self.assertEqual(self.seen("one"), [{"fakegpu0": ZERO, "fakegpu1": None, "fakectl": NULL}, "void"])
        none = self.looking("none", "--gpus", "none")
        self.assertEqual(self.seen("none"), [{"fakegpu0": None, "fakegpu1": None, "fakectl": None}, None])
        other = self.looking("other", "--gpus", "1")
        self.assertEqual(self.seen("other")[0], {"fakegpu0": None, "fakegpu1": SECOND, "fakectl": NULL})
        third = self.looking("third", "--gpus", "device=GPU-zero")
        self.assertEqual(self.show(third)["statusReason"].split(";")[0], "waits for GPU 0 (0 of 2 free)")
        self.assertEqual(self.show(other)["gpus"], ["1"])
        queue = self.queue()
        self.assertEqual((queue["gpus"], queue["items"][0]["gpus"]), ({"total": 2, "free": 0}, 1))
        self.assertIn("0 of 2 GPUs free", "\n".join(self.ok("queue", "list").error_lines))
        self.home.kill_daemon()  # the next one knows whose they are
        self.assertEqual(self.queue()["gpus"]["free"], 0)
        self.assertEqual(self.waiting(), [third])
        self.let_go("other", "third")
        self.ok("wait", other)
        self.assertEqual(self.show(one)["gpus"], ["0"])
        self.let_go("one", "none")
        self.ok("wait", one, none)
        self.assertEqual(self.show(none)["gpus"], [])
        self.assertIn("gpus          0", self.ok("show", one).text)

    def test_without_a_word_a_run_has_all_of_them(self):
        run = self.looking("any")
        self.assertEqual(self.seen("any")[0], {"fakegpu0": ZERO, "fakegpu1": SECOND, "fakectl": NULL})
        self.let_go("any")
        self.wait(run)
        self.assertEqual((self.show(run)["gpus"], self.show(run)["runDefinition"]["gpus"]), (["0", "1"], None))

    def test_a_run_whose_gpu_has_gone_waits_and_keeps_nobody_from_starting(self):
        blocker = self.looking("one", "--gpus", "2")
        self.seen("one")
        waiting = self.looking("two", "--gpus", "device=1")
        self.home.kill_daemon()
        os.rename(os.path.join(self.cdi, "fake.json"), os.path.join(self.cdi, "away"))
        self.let_go("one", "two")
        self.wait(blocker)
        self.assertEqual(self.show(waiting)["statusReason"], "waits for GPU 1: this machine has 0")
        self.submit("--command", "true")
        self.assertEqual(self.show(waiting)["status"], "Queued")
        self.home.kill_daemon()
        os.rename(os.path.join(self.cdi, "away"), os.path.join(self.cdi, "fake.json"))
        self.wait(waiting)
        self.assertEqual(self.show(waiting)["gpus"], ["1"])

    def test_what_cannot_be_is_refused(self):
        for wish, words in (("3", "--gpus 3: there are 2 on this machine: 0, 1"), ("device=7", "there is no GPU '7' here"),
                            ("0,", "is not all, none, a number of GPUs or their ids"), ("-1", "there is no GPU '-1' here")):
            result = self.submit("--gpus=" + wish, "--command", "true", code=125 if "there" in words else 2)
            self.assertIn(words, "\n".join(result.error_lines))
        self.assertEqual(self.runs(), [])

    def test_doctor_lists_them_and_says_what_is_wrong(self):
        self.home.write(os.path.join(self.cdi, "a.yaml"), "cdiVersion: 0.6.0\nkind: b.example/gpu\ndevices:\n- containerEdits: {}\n", 0o644)
        self.home.write(os.path.join(self.cdi, "b.json"), "{}", 0o666)
        text = self.runner("doctor").text
        self.assertIn("0, 1 (by CDI: fake.example/gpu)", text)
        self.assertIn("a.yaml is left out: a device has no name", text)
        self.assertIn("b.json is left out: others than its owner may write it", text)


class Without(QueueTest):
    configuration = 'cpus = 2\ncdi_dirs = []\n'

    def test_gpus_cannot_be_had(self):
        result = self.submit("--gpus", "all", "--command", "true", code=125)
        self.assertIn("--gpus: no GPU was found on this machine", "\n".join(result.error_lines))
        self.submit("--gpus", "none", "--command", "true")


class Shared(GpuTest):
    more_configuration = 'gpus = ["0"]\nruns_per_gpu = 2\nparallel = 2\n'

    def test_two_runs_may_have_one_gpu_where_the_configuration_says_so(self):
        runs = [self.looking(name) for name in ("a", "b")]
        for name in ("a", "b"):
            self.assertEqual(self.seen(name)[0], {"fakegpu0": ZERO, "fakegpu1": None, "fakectl": NULL})
        self.let_go("a", "b")
        self.ok("wait", *runs)
