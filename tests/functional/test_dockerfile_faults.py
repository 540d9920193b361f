"""Images out of a Dockerfile where something changes behind the daemon's back: Engines, images, bases."""
import json
import threading
import urllib.parse

from support.docker_case import BUSYBOX, DockerTest
from support.fake_engine import FakeEngine
from support.private_engine import PrivateEngine
from support.waiting import wait_until


class DockerfileFaults(DockerTest):
    def dockerfile(self, text, name="Dockerfile"):
        return self.write(name, text)

    def submit_made(self, *options, code=0, **more):
        self.write("main.sh", "cat /made\n")
        return self.ok("submit", "--dockerfile", "Dockerfile", *options, "main.sh", code=code, **more)


class TwoEngines(DockerfileFaults):
    def test_an_image_of_another_engine_is_built_again_where_the_run_is(self):
        other = PrivateEngine()
        self.addCleanup(other.close)
        there = {"DOCKER_HOST": other.address}
        self.dockerfile("FROM %s\nRUN echo %s >/made\n" % (BUSYBOX, self.home.token))
        for environment in ({}, there, {}, there):
            result = self.submit_made(environment=environment, timeout=60)
            self.assertEqual(result.text, self.home.token + "\n")
        other.close()
        self.assertEqual(self.submit_made(timeout=60).text, self.home.token + "\n")


class OddEngines(DockerfileFaults):
    def fake(self, handle):
        engine = FakeEngine(handle)
        self.addCleanup(engine.close)
        return engine

    def test_an_image_that_goes_again_and_again_ends_the_run(self):
        made = "sha256:" + "5" * 64
        there = threading.Event()

        def handle(method, path):
            if path == "/build":
                there.set()
                return 200, {"aux": {"ID": made}}
            if method == "GET" and made in path:
                found = there.is_set()  # right after the build, and never again
                there.clear()
                return (200, {"Id": made}) if found else (404, {"message": "No such image"})
            return 200, {"Id": "sha256:" + "6" * 64}

        engine = self.fake(handle)
        self.dockerfile("FROM base-%s\n" % self.home.token)
        result = self.submit_made(code=125, environment={"DOCKER_HOST": engine.address}, timeout=60)
        self.assertIn("was gone again when the run started", result.err)
        self.assertIn(engine.address[len("unix://"):], result.err)
        self.assertLessEqual(engine.asked.count("POST /build"), 2)


class Evicted(DockerfileFaults):
    fresh_home = True
    configuration = 'environment_cache = "1k"\n'

    def test_gc_frees_an_image_of_two_environments_and_keeps_one_that_is_used(self):
        text = "FROM %s\nRUN echo %s >/made\n" % (BUSYBOX, self.home.token)
        images = set()
        for more in ("", "# the same image\n"):
            self.dockerfile(text + more)
            self.submit_made()
            images.add(self.show()["environment"]["image"]["id"])
        image, = images
        wait_until(lambda: not self.engine.containers(self.home.token), "the runs' containers are gone")
        dry = self.ok("gc", "--explain", "--dry-run", "--json").json
        listed = [item for item in dry["freed"] if item["kind"] == "environment"]
        self.assertEqual([item["name"] for item in listed], [image, image])
        self.assertGreater(listed[0]["bytes"], 1 << 20)
        held = self.engine.create(image, ["true"])
        self.addCleanup(self.engine.remove, held)
        self.assertIn("uses it", " ".join(self.ok("gc", "--json").json["warnings"]))
        self.assertIsNotNone(self.engine.image(image))
        self.engine.remove(held)
        self.assertEqual(self.ok("gc", "--json").json["warnings"], [])
        self.assertIsNone(self.engine.image(image))


class Frozen(DockerfileFaults):
    fresh_home = True
    configuration = 'environment_cache = "1k"\n'

    def test_gc_asks_an_engine_that_is_gone_once(self):
        other = PrivateEngine()
        self.addCleanup(other.close)
        for number in range(3):
            self.dockerfile("FROM %s\nRUN echo %d >/made\n" % (BUSYBOX, number))
            self.submit_made(environment={"DOCKER_HOST": other.address}, timeout=60)
        other.close()
        warnings = self.ok("gc", "--json").json["warnings"]
        self.assertEqual(len(warnings), 1, warnings)
        self.assertIn(other.socket, warnings[0])


class Bases(DockerfileFaults):
    def based(self, text, name):
        """An image of the engine made of the text, with one instruction for whatever is built on it."""
        reference = "%s-%s:1" % (name, self.home.token)
        container = self.engine.create(BUSYBOX, ["true"])
        self.addCleanup(self.engine.remove_image, reference)
        repository, tag = reference.split(":")
        try:
            self.engine.call("POST", "/commit?container=%s&repo=%s&tag=%s&changes=%s" % (container, repository, tag, urllib.parse.quote(text)), {})
        finally:
            self.engine.remove(container)
        return reference

    def test_what_a_base_copies_from_the_context_is_there_and_counts(self):
        base = self.based("ONBUILD COPY word /made", "onbuild")
        self.dockerfile("FROM %s\n" % base)
        for word in ("one\n", "two\n"):
            self.write("word", word)
            self.assertEqual(self.submit_made().text, word)

    def test_a_base_that_changes_while_the_build_waits_is_said(self):
        base = self.based("ENV BASE=one", "moves")
        self.dockerfile("FROM %s\nRUN echo begun-%s; sleep 300\n" % (BUSYBOX, self.home.token), "Slow")
        slow = self.ok("submit", "--detach", "--dockerfile", "Slow", "--command", "true").text.strip()
        wait_until(lambda: "step 2" in self.show(slow)["statusReason"], "the first build is under way")
        self.dockerfile("FROM %s\nRUN echo $BASE >/made\n" % base)
        self.write("main.sh", "cat /made\n")
        run = self.ok("submit", "--detach", "--dockerfile", "Dockerfile", "main.sh").text.strip()
        self.assertEqual(self.based("ENV BASE=two", "moves"), base)
        self.ok("cancel", slow)
        document = self.wait(run, code=125)
        self.assertIn("the base image %s changed after the run was submitted" % base, document["outcome"]["message"])
        self.assertEqual(self.submit_made().text, "two\n")

    def test_two_that_want_the_same_build_it_once(self):
        self.dockerfile("FROM %s\nRUN echo %s; date +%%s%%N >/made\n" % (BUSYBOX, self.home.token))
        self.write("main.sh", "cat /made\n")
        runs = [self.ok("submit", "--detach", "--dockerfile", "Dockerfile", "main.sh").text.strip() for _ in range(3)]
        self.assertEqual(len({self.wait(run)["environment"]["image"]["id"] for run in runs}), 1)


class Secrets(DockerfileFaults):
    def test_a_build_argument_of_the_caller_is_not_shown(self):
        word = "hidden-" + self.home.token
        self.dockerfile("FROM %s\nARG OWN\nRUN echo saw $OWN; false\n" % BUSYBOX)
        result = self.submit_made("--build-arg", "OWN", code=125, environment={"OWN": word})
        log = self.ok("logs", "@last", "--name", "system_logs/environment_build.log").text
        self.assertIn("saw ****", log)
        for text in (log, result.err, json.dumps(self.show())):
            self.assertNotIn(word, text)
