"""Which Python runs a script, and that everything it can import at home can be imported in the run."""
import os
import shutil
import subprocess

from support import settings
from support.case import RunnerTest


class Interpreters(RunnerTest):
    def venv(self, directory):
        result = self.home.call(settings.PYTHON, "-m", "venv", "--without-pip", directory)
        self.assertEqual(result.code, 0, result.describe())
        packages = os.path.join(directory, "lib", os.listdir(directory + "/lib")[0], "site-packages")
        self.home.write(packages + "/only_here.py", "WHERE = 'in the venv'\n")
        return directory, packages

    def activated(self, directory):
        return {"VIRTUAL_ENV": directory, "PATH": directory + "/bin:" + self.home.environment()["PATH"]}

    IMPORT = "import sys, only_here\nprint(sys.prefix, only_here.WHERE)\n"

    def test_an_active_venv_outside_the_source_directory_is_used(self):
        directory, _ = self.venv(self.home.new_project() + "/venv")
        result = self.submit_python(self.IMPORT, environment=self.activated(directory))
        self.assertEqual(result.text, directory + " in the venv\n")
        self.assertEqual(self.show()["environment"]["interpreter"], directory + "/bin/python")

    def test_an_active_venv_inside_the_source_directory_is_used_and_is_not_in_the_snapshot(self):
        directory, _ = self.venv(self.project + "/.venv")
        before = self.show_snapshot_without_venv()
        result = self.submit_python(self.IMPORT, environment=self.activated(directory))
        self.assertEqual(result.text, directory + " in the venv\n")
        self.assertEqual(self.show()["snapshotId"], before)

    def show_snapshot_without_venv(self):
        plain = self.home.new_project()
        self.home.write(plain + "/main.py", self.IMPORT)
        self.submit("main.py", directory=plain, code=1)
        return self.show()["snapshotId"]

    def test_a_venv_of_the_home_directory_is_used(self):
        base = os.path.join(self.account.home, "venvs-" + self.home.token)
        self.addCleanup(shutil.rmtree, base, True)
        directory, _ = self.venv(base + "/v")
        result = self.submit_python(self.IMPORT, environment=self.activated(directory))
        self.assertEqual(result.text, directory + " in the venv\n")

    def test_python_names_an_interpreter_by_path(self):
        directory, _ = self.venv(self.home.new_project() + "/venv")
        self.assertEqual(self.submit_python(self.IMPORT, "--python", directory + "/bin/python").text, directory + " in the venv\n")

    def test_the_venv_is_read_only_in_the_run(self):
        directory, packages = self.venv(self.home.new_project() + "/venv")
        self.submit_python("open(%r, 'w')\n" % (packages + "/x.py"), "--python", directory + "/bin/python", exit_code=1)
        self.assertFalse(os.path.exists(packages + "/x.py"))

    def test_a_package_added_after_the_first_run_is_seen_by_the_second(self):
        directory, packages = self.venv(self.home.new_project() + "/venv")
        library = self.home.new_project()
        self.home.write(library + "/later.py", "VALUE = 'later'\n")
        code = "import later\nprint(later.VALUE)\n"
        self.submit_python(code, "--python", directory + "/bin/python", exit_code=1)
        self.home.write(packages + "/added.pth", library + "\n")
        self.assertEqual(self.submit_python(code, "--python", directory + "/bin/python").text, "later\n")

    def test_a_shim_in_front_of_python_is_looked_through(self):
        shims = self.home.new_project()
        self.home.write(shims + "/python3", "#!/bin/sh\nexec %s \"$@\"\n" % settings.PYTHON, 0o755)
        path = shims + ":" + self.home.environment()["PATH"]
        result = self.submit_python("import sys\nprint(sys.executable)\n", environment={"PATH": path})
        self.assertEqual(os.path.realpath(result.text.strip()), os.path.realpath(settings.PYTHON))

    def test_the_version_of_the_interpreter_is_recorded(self):
        self.submit_python("pass\n", "--python", settings.PYTHON)
        environment = self.show()["environment"]
        wanted = subprocess.run([settings.PYTHON, "-c", "import platform; print(platform.python_version())"], text=True, capture_output=True)
        self.assertEqual((environment["interpreter"], environment["pythonVersion"]), (settings.PYTHON, wanted.stdout.strip()))


class Installs(RunnerTest):
    venv = Interpreters.venv

    def test_the_user_site_is_visible(self):
        site = self.home.call(settings.PYTHON, "-m", "site", "--user-site").text.strip()
        self.assertTrue(site.startswith(self.account.home + "/"), site)
        made = site  # the topmost directory that does not exist yet goes again afterwards
        while not os.path.exists(os.path.dirname(made)):
            made = os.path.dirname(made)
        existed = os.path.exists(made)
        module = "user_site_" + self.home.token
        self.home.write("%s/%s.py" % (site, module), "VALUE = 'user site'\n")
        self.addCleanup(os.remove, "%s/%s.py" % (site, module)) if existed else self.addCleanup(shutil.rmtree, made)
        result = self.submit_python("import %s as m\nprint(m.VALUE)\n" % module, "--python", settings.PYTHON)
        self.assertEqual(result.text, "user site\n")

    def test_an_editable_install_outside_of_the_source_directory_is_visible(self):
        directory, packages = self.venv(self.home.new_project() + "/venv")
        library = self.home.new_project()
        self.home.write(library + "/src/editable/__init__.py", "VALUE = 'editable'\n")
        self.home.write(packages + "/__editable__.editable.pth", library + "/src\n")
        result = self.submit_python("import editable\nprint(editable.VALUE)\n", "--python", directory + "/bin/python")
        self.assertEqual(result.text, "editable\n")

    def test_an_editable_install_inside_the_source_directory_sees_the_snapshot_not_the_live_file(self):
        directory, packages = self.venv(self.home.new_project() + "/venv")
        self.home.write(packages + "/inside.pth", self.project + "/src\n")
        self.write("src/inside.py", "VALUE = 'as submitted'\n")
        blocker = self.detach_gated("tell('running')\nawait_('go')\n")
        self.await_gate("running")
        queued = self.detach_python("import inside\nprint(inside.VALUE)\n", "--python", directory + "/bin/python")
        self.write("src/inside.py", "VALUE = 'edited since'\n")
        self.open_gate("go")
        self.wait(blocker)
        self.wait(queued)
        self.assertEqual(self.log(queued), b"as submitted\n")
