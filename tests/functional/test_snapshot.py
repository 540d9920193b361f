"""What is frozen at submit: the code as it was, without what is ignored, under an id that depends on the content alone."""
import os
import shutil

from support.case import RunnerTest


class Frozen(RunnerTest):
    def hold_the_queue(self):
        """A run that keeps the next ones queued until open_gate("go")."""
        blocker = self.detach_gated("tell('running')\nawait_('go')\n")
        self.await_gate("running")
        return blocker

    def test_an_edit_right_after_submit_changes_nothing(self):
        blocker = self.hold_the_queue()
        self.write("code/main.py", "import helper\nprint('old', helper.VALUE, open('data.txt').read())\n")
        self.write("code/helper.py", "VALUE = 'old'\n")
        self.write("code/data.txt", "old")
        source = self.project + "/code"
        queued = self.detach("--source-dir", source, "main.py")
        self.write("code/main.py", "print('new')\n")
        self.write("code/helper.py", "VALUE = 'new'\n")
        os.remove(source + "/data.txt")
        self.open_gate("go")
        self.wait(blocker)
        self.wait(queued)
        self.assertEqual(self.log(queued), b"old old old\n")

    def test_removing_the_source_directory_right_after_submit_changes_nothing(self):
        blocker = self.hold_the_queue()
        self.write("code/main.py", "print('still here')\n")
        queued = self.detach("--source-dir", self.project + "/code", "main.py")
        shutil.rmtree(self.project + "/code")
        self.open_gate("go")
        self.wait(blocker)
        self.wait(queued)
        self.assertEqual(self.log(queued), b"still here\n")

    def test_a_first_line_edited_right_after_submit_changes_nothing(self):
        blocker = self.hold_the_queue()
        edited = self.detach("job", directory=self.scripted("one"))
        removed = self.detach("job", directory=self.scripted("two"))
        self.write("one/job", "#!/bin/false\n")
        os.remove(self.project + "/two/job")
        self.open_gate("go")
        self.wait(blocker)
        for run in (edited, removed):
            self.wait(run)
            self.assertEqual(self.log(run), b"as submitted\n")

    def scripted(self, name):
        self.write(name + "/job", "#!/bin/sh\necho as submitted\n")
        return self.project + "/" + name


class Contents(RunnerTest):
    LIST = """\
        import os
        for directory, names, files in os.walk("."):
            for name in files + [n for n in names if os.path.islink(os.path.join(directory, n))]:
                print(os.path.relpath(os.path.join(directory, name), "."))
        """

    def listed(self, *options):
        self.write("list.py", self.LIST)
        return sorted(self.submit(*options, "list.py").text.splitlines())

    def test_gitignore_is_honoured_at_every_level(self):
        self.write(".gitignore", "*.log\n/data/\n!keep.log\n")
        self.write("a.log", "")
        self.write("keep.log", "")
        self.write("data/big", "")
        self.write("sub/data/in", "")
        self.write("sub/.gitignore", "local\n")
        self.write("sub/local", "")
        self.write("local", "")
        self.assertEqual(self.listed(), [".gitignore", "keep.log", "list.py", "local", "sub/.gitignore", "sub/data/in"])

    def test_amlignore_replaces_gitignore(self):
        self.write(".gitignore", "a.txt\n")
        self.write(".amlignore", "b.txt\n")
        self.write("a.txt", "")
        self.write("b.txt", "")
        self.assertEqual(self.listed(), [".amlignore", ".gitignore", "a.txt", "list.py"])

    def test_git_data_and_virtual_environments_are_always_out(self):
        self.home.call("git", "init", "-q", directory=self.project)
        self.write("envs/mine/pyvenv.cfg", "home = /usr/bin\n")
        self.write("envs/mine/lib/x.py", "")
        self.write("conda/conda-meta/history", "")
        self.write("ordinary/x.py", "")
        self.assertEqual(self.listed(), ["list.py", "ordinary/x.py"])

    def test_names_types_modes_and_contents_arrive(self):
        names = ["with space", "ünï", "new\nline", "-dash", "quote'\"", "deep/er/file"]
        for name in names:
            self.write(name, "content of " + name)
        self.write("empty", "")
        self.write("tool.sh", "#!/bin/sh\n", 0o755)
        os.symlink("empty", self.project + "/link")
        os.symlink("/nowhere/at/all", self.project + "/dangling")
        for link in ("link", "dangling"):
            self.account.own(os.path.join(self.project, link))
        facts = self.python_facts("""\
            facts["contents"] = {n: open(n).read() for n in %r}
            facts["links"] = [os.readlink("link"), os.readlink("dangling")]
            facts["executable"] = [os.access("tool.sh", os.X_OK), os.stat("empty").st_mode & 0o111]
            facts["empty"] = os.path.getsize("empty")
            """ % names)
        self.assertEqual(facts, {"contents": {n: "content of " + n for n in names}, "links": ["empty", "/nowhere/at/all"],
                                 "executable": [True, 0], "empty": 0})

    def test_a_large_file_arrives_unchanged(self):
        content = os.urandom(1 << 20) * 9 + b"end"
        self.write("large.bin", content)
        import hashlib
        facts = self.python_facts("import hashlib\nfacts['sum'] = hashlib.sha256(open('large.bin', 'rb').read()).hexdigest()")
        self.assertEqual(facts["sum"], hashlib.sha256(content).hexdigest())


class Identity(RunnerTest):
    def snapshot_of(self, directory):
        self.submit("main.py", directory=directory)
        return self.show()["snapshotId"]

    def test_the_same_tree_has_the_same_id_wherever_and_whenever(self):
        first = self.write("one/main.py", "print(1)\n")
        self.write("two/main.py", "print(1)\n")
        os.utime(first, (0, 0))
        ids = [self.snapshot_of(self.project + "/" + name) for name in ("one", "two")]
        self.assertEqual(ids[0], ids[1])

    def test_content_and_executable_bit_and_names_change_the_id(self):
        self.write("main.py", "print(1)\n")
        ids = [self.snapshot_of(self.project)]
        self.write("main.py", "print(2)\n")
        ids.append(self.snapshot_of(self.project))
        os.chmod(self.project + "/main.py", 0o755)
        ids.append(self.snapshot_of(self.project))
        self.write("more.txt", "")
        ids.append(self.snapshot_of(self.project))
        os.rename(self.project + "/more.txt", self.project + "/less.txt")
        ids.append(self.snapshot_of(self.project))
        self.assertEqual(len(set(ids)), len(ids), ids)

    def test_a_change_within_the_same_size_and_modification_time_is_seen(self):
        path = self.write("main.py", "print(1)\n")
        info = os.stat(path)
        first = self.snapshot_of(self.project)
        self.write("main.py", "print(2)\n")
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
        self.assertNotEqual(first, self.snapshot_of(self.project))
        self.assertEqual(self.log(), b"2\n")
