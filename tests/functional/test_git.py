"""Where a run came from: git's facts as properties, the uncommitted change kept with the run, hostile repositories."""
import os
import shutil
import subprocess

from support.case import RunnerTest

SECRET = "s3cr3t-t0k3n-of-the-remote"


class GitTest(RunnerTest):
    def git(self, *arguments, directory=None, code=0):
        result = self.home.call("git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always", *arguments,
                                directory=directory or self.project)
        self.assertEqual(result.code, code, result.describe())
        return result.out.decode(errors="surrogateescape").rstrip("\n")

    def make_repository(self):
        self.git("init", "-q", "-b", "main")
        self.write("main.py", "print('ran')\n")
        self.write("sub/data.txt", "one\ntwo\n")
        self.write("binary", b"\0\1\2")
        self.commit()

    def commit(self):
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "x")

    def submitted(self, *options, **more):
        """A run of main.py that completes: its document."""
        self.submit(*options, "main.py", **more)
        document = self.show()
        self.assertEqual(document["status"], "Completed")
        return document

    def artifact(self, name):
        directory = self.home.new_project()
        self.ok("run", "download", "@last", name, "-d", directory)
        with open(os.path.join(directory, name), "rb") as file:
            return file.read()


class Properties(GitTest):
    def test_a_clean_commit(self):
        self.make_repository()
        self.git("remote", "add", "origin", "https://example.org/x.git")
        document = self.submitted()
        commit = self.git("rev-parse", "HEAD")
        properties = {key: value for key, value in document["properties"].items() if "git" in key}
        self.assertEqual(properties, {
            "azureml.git.repository_uri": "https://example.org/x.git", "mlflow.source.git.repoURL": "https://example.org/x.git",
            "azureml.git.branch": "main", "mlflow.source.git.branch": "main",
            "azureml.git.commit": commit, "mlflow.source.git.commit": commit, "azureml.git.dirty": "False"})
        self.assertEqual(document["git"], {"commit": commit, "branch": "main", "dirty": False, "remote": "https://example.org/x.git",
                                           "patch": None, "untrackedFiles": None})
        self.assertEqual(document["outputs"], [])
        self.assertEqual(self.log_files(document), ["user_logs/std_log.txt"])

    def test_no_repository(self):
        self.write("main.py", "")
        document = self.submitted()
        self.assertIsNone(document["git"])
        self.assertFalse([key for key in document["properties"] if "git" in key])

    def test_the_callers_and_the_daemons_environment_do_not_redirect(self):
        other = self.home.new_project()
        self.git("init", "-q", directory=other)
        lies = {"GIT_DIR": other + "/.git", "GIT_WORK_TREE": other, "GIT_INDEX_FILE": "/nonexistent", "GIT_OBJECT_DIRECTORY": "/nonexistent",
                "GIT_COMMON_DIR": "/nonexistent", "GIT_CONFIG": "/nonexistent", "GIT_CONFIG_GLOBAL": "/nonexistent",
                "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.bare", "GIT_CONFIG_VALUE_0": "true", "GIT_CEILING_DIRECTORIES": "/",
                "GIT_NAMESPACE": "x", "GIT_ALTERNATE_OBJECT_DIRECTORIES": "/nonexistent"}
        self.make_repository()
        self.ok("daemon", "stop")
        document = self.submitted(environment=lies)  # starts a daemon with them, too
        self.assertEqual(document["git"]["commit"], self.git("rev-parse", "HEAD"))
        self.assertFalse(document["git"]["dirty"])
        self.ok("daemon", "stop")


class Change(GitTest):
    def check_that_the_patch_makes_the_tree(self, document):
        clean = os.path.join(self.home.new_project(), "clean")
        self.git("clone", "-q", "--no-hardlinks", self.project, clean)
        self.git("checkout", "-q", "--detach", document["git"]["commit"], directory=clean)
        patch = self.home.write(clean + ".patch", self.artifact("git/diff.patch"))
        self.git("apply", "--binary", "--index", patch, directory=clean)
        tree = self.git("write-tree", directory=clean)
        self.git("add", "-u")
        self.assertEqual(tree, self.git("write-tree"))

    def test_the_patch_makes_the_tree(self):
        self.make_repository()
        self.write("sub/data.txt", "one\n2\nno end")
        self.write("binary", os.urandom(5000))
        self.write("new", "staged\n")
        self.git("add", "new")
        os.chmod(self.project + "/main.py", 0o755)
        self.write("with\nnewline", "")
        self.write(".gitignore", "*.log\n")
        self.write("ignored.log", "")
        document = self.submitted()
        self.assertTrue(document["git"]["dirty"])
        self.assertEqual(document["git"]["patch"]["name"], "git/diff.patch")
        self.assertEqual(self.artifact("git/untracked.txt"), b".gitignore\n\"with\\nnewline\"\n")
        names = [item["name"] for item in self.ok("run", "files", "--json", "@last").json["items"]]
        self.assertEqual(names, ["git/diff.patch", "git/untracked.txt", "user_logs/std_log.txt"])
        self.assertEqual((document["outputs"], self.log_files(document)), ([], ["user_logs/std_log.txt"]))
        self.assertIn("git/diff.patch (", self.ok("run", "show", "@last").text)
        self.check_that_the_patch_makes_the_tree(document)

    def test_it_is_there_while_the_run_is_queued_and_beside_what_the_run_leaves(self):
        self.git("init", "-q")
        self.write("main.py", "")
        self.commit()
        run = self.detach_gated("""\
            tell('running')
            await_('go')
            os.makedirs('outputs/git')
            open('outputs/git/diff.patch', 'w').write('an output')
            """)
        self.await_gate("running")
        names = [item["name"] for item in self.ok("run", "files", "--json", run).json["items"]]
        self.assertEqual(names, ["git/diff.patch"])
        self.open_gate("go")
        document = self.wait(run)
        self.assertEqual([output["name"] for output in document["outputs"]], ["outputs/git/diff.patch"])
        self.assertIn(b"main.py", self.artifact("git/diff.patch"))

    def test_only_the_source_directory_counts(self):
        self.make_repository()
        self.write("sub/main.py", "")
        self.commit()
        self.write("binary", "changed")
        document = self.submitted("--source-dir", self.project + "/sub")
        self.assertFalse(document["git"]["dirty"])
        self.assertIsNone(document["git"]["patch"])


class Hostile(GitTest):
    def test_nothing_is_executed_or_changed(self):
        self.make_repository()
        proof = os.path.join(self.home.new_project(), "executed")
        evil = self.write("/".join([os.path.dirname(proof), "evil"]), "#!/bin/sh\necho \"$0\" >> %s\n" % proof, 0o755)
        self.write(".gitattributes", "* filter=evil diff=evil\n")
        self.commit()
        for key in ("core.fsmonitor", "filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "diff.evil.textconv",
                    "diff.external", "core.sshCommand", "credential.helper", "core.pager", "uploadpack.packObjectsHook"):
            self.git("config", key, evil)
        self.git("config", "core.hooksPath", os.path.dirname(evil))
        for hook in ("post-index-change", "fsmonitor-watchman", "reference-transaction"):
            shutil.copy2(evil, os.path.join(os.path.dirname(evil), hook))
        self.write("main.py", "print('changed')\n")
        before = self.image()
        document = self.submitted()
        self.assertTrue(document["git"]["dirty"])
        self.assertFalse(os.path.exists(proof))
        self.assertEqual(self.image(), before)
        self.assertIn("filter program", " ".join(document["notices"]))

    def image(self):
        image = {}
        for directory, _, files in os.walk(self.project + "/.git"):
            for name in files:
                path = os.path.join(directory, name)
                info = os.lstat(path)
                with open(path, "rb") as file:
                    image[path] = (info.st_mode, info.st_mtime_ns, info.st_ctime_ns, file.read())
        return image

    def test_a_damaged_repository_is_a_notice_and_the_run_goes_on(self):
        self.make_repository()
        for name, content in (("index", "spoilt"), ("config", "[core\n"), ("refs/heads/main", "spoilt\n")):
            path = self.project + "/.git/" + name
            with open(path, "rb") as file:
                good = file.read()
            self.write(path, content)
            document = self.submitted()
            self.assertIsNone(document["git"], name)
            self.assertIn("git: the repository cannot be read", " ".join(document["notices"]), name)
            self.home.write(path, good)

    def test_a_fifo_holds_nobody_up(self):
        self.make_repository()
        for name in ("index", "HEAD", "config", "packed-refs"):
            path = self.project + "/.git/" + name
            kept = os.path.exists(path) and open(path, "rb").read()
            if kept:
                os.remove(path)
            os.mkfifo(path)
            document = self.submitted()
            self.assertIsNone(document["git"], name)
            self.assertIn("is a FIFO", " ".join(document["notices"]), name)
            os.remove(path)
            if kept:
                self.home.write(path, kept)

    def test_credentials_of_the_remote_are_nowhere_in_the_home(self):
        self.make_repository()
        self.git("remote", "add", "origin", "https://user:%s@example.org/x.git?private_token=%s" % (SECRET, SECRET))
        self.git("remote", "add", "second", "ssh://git:%s@example.org/y.git" % SECRET)
        self.git("config", "remote.origin.pushurl", "https://%s@example.org/z.git" % SECRET)
        self.git("config", "url.https://u:%s@mirror.example.org/.insteadOf" % SECRET, "https://user:")
        self.git("config", "http.extraHeader", "Authorization: " + SECRET)
        self.write("main.py", "print('changed')\n")
        document = self.submitted()
        self.assertNotIn(SECRET, str(document))
        self.assertIn("example.org", document["git"]["remote"])
        self.assertNotIn(SECRET, self.ok("run", "show", "@last").text + self.artifact("git/diff.patch").decode())
        found = subprocess.run(["grep", "-rlaF", SECRET, self.home.data], stdout=subprocess.PIPE, check=False)
        self.assertEqual(found.stdout, b"")
        # The search finds what is there: the commit, of the same row.
        found = subprocess.run(["grep", "-rlaF", document["git"]["commit"], self.home.data], stdout=subprocess.PIPE, check=False)
        self.assertIn(b"runner.db", found.stdout)
