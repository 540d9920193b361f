"""A conda environment in an image: the image's C library counts, programs of the prefix run in the image, the prefix is seen
read-only.

The channel is made here (support/conda_channel.py). The client is the machine's, else py-rattler, which the daemon gets from
the package registry.
"""
import io
import json
import os
import shutil
import subprocess
import tempfile
import unittest
import zipfile

from support import conda_channel, settings
from support.docker_case import BUSYBOX, DockerTest
from support.waiting import wait_until

# How tools of this machine reach the package registry, whatever the account.
REACH = {name: value for name, value in os.environ.items()
         if name.startswith(("PIP_", "UV_")) or name.lower() in ("ssl_cert_file", "http_proxy", "https_proxy", "no_proxy")}


def a_client_can_be_had():
    if any(shutil.which(name) for name in ("micromamba", "mamba", "conda", "rattler")):
        return True
    with tempfile.TemporaryDirectory() as directory:
        asked = subprocess.run([settings.PYTHON, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                                "--dest", directory, "py-rattler"], capture_output=True, timeout=300)
        return asked.returncode == 0


class CondaInImage(DockerTest):
    @classmethod
    def setUpClass(cls):
        if not a_client_can_be_had():
            raise unittest.SkipTest("no conda client, and the package registry does not give py-rattler")
        super().setUpClass()
        cls.channel = tempfile.mkdtemp(prefix="rt-channel-", dir="/tmp")
        cls.addClassCleanup(shutil.rmtree, cls.channel)
        os.chmod(cls.channel, 0o755)
        cls.url = conda_channel.make(os.path.join(cls.channel, "c"))

    def conda(self, *packages, pip=(), image=settings.IMAGE, code=0, script="main.py"):
        lines = ["channels: [\"%s\", nodefaults]" % self.url, "dependencies:"] + ["  - " + package for package in packages]
        if pip:
            lines += ["  - pip", "  - pip:"] + ["    - " + requirement for requirement in pip]
        self.write("environment.yml", "\n".join(lines) + "\n")
        return self.ok("submit", "--conda", "environment.yml", "--image", image, script, code=code, environment=REACH,
                       timeout=400)

    def build_log(self):
        return self.ok("logs", "@last", "--name", "system_logs/environment_build.log").text

    def test_a_script_runs_with_the_prefixs_python_in_the_image(self):
        self.write("main.py", """\
            import greeting, json, os, sys
            try:
                open(sys.prefix + "/new", "w")
                writable = True
            except OSError:
                writable = False
            print(json.dumps([sys.executable, sys.prefix, writable, os.environ.get("IMAGE_SAYS"), os.getuid()]))
            """)
        said = self.conda("python", "greeting").text.splitlines()[-1]
        executable, prefix, writable, image_says, uid = json.loads(said)
        self.assertTrue(executable.startswith(prefix + "/bin/python"), executable)
        self.assertTrue(prefix.startswith(self.home.data), prefix)
        self.assertEqual((writable, image_says, uid), (False, "hello", self.account.uid))
        environment = self.show()["environment"]
        self.assertEqual(environment["kind"], "conda-image")
        self.assertEqual(environment["image"]["id"], self.image(settings.IMAGE)["Id"])
        self.assertRegex(self.build_log(), r"\nglibc 2\.\d+\n")
        wait_until(lambda: not self.engine.containers(self.home.data), "no container is left")

    def test_the_pip_list_is_installed_by_the_image(self):
        self.write("wheels/README", "")
        wheel = os.path.join(self.project, "wheels", "own_thing-1.0-py3-none-any.whl")
        self.home.write(wheel, wheel_of("own_thing", "1.0", "WORD = 'own'\n"))
        self.write("main.py", "import own_thing\nprint(own_thing.WORD)\n")
        self.assertEqual(self.conda("python", pip=["own_thing @ file://" + wheel]).text, "own\n")

    def test_what_wants_a_newer_c_library_has_no_solution(self):
        self.write("main.py", "print()\n")
        self.conda("python", "newer-glibc", code=125)
        self.assertIn("glibc", self.show()["outcome"]["message"])

    def test_an_image_without_glibc_says_so(self):
        for image in (BUSYBOX, "runner-test/musl:1"):
            with self.subTest(image):
                self.write("main.py", "print()\n")
                result = self.conda("python", image=image, code=125)
                self.assertIn("no GNU C library", result.err)

    def test_packages_without_native_code_need_no_c_library(self):
        self.write("main.sh", "exec banner\n")
        said = self.conda("banner", image=BUSYBOX, script="main.sh").text
        self.assertRegex(said, "^banner of %s/.*/prefix\n$" % self.home.data)


def wheel_of(name, version, text):
    buffer = io.BytesIO()
    info = "%s-%s.dist-info/" % (name, version)
    with zipfile.ZipFile(buffer, "w") as wheel:
        wheel.writestr(name + ".py", text)
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version))
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(info + "RECORD", "%s.py,,\n%sMETADATA,,\n%sWHEEL,,\n%sRECORD,,\n" % (name, info, info, info))
    return buffer.getvalue()
