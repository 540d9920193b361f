"""The layering lint finds what it is for."""

import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "lint"))

import layers  # noqa: E402


class Layers(unittest.TestCase):
    def complaints(self, path, line):
        with tempfile.TemporaryDirectory() as root:
            for name, text in [
                ("runner/core/run.hpp", ""),
                ("runner/os/file.hpp", ""),
                ("git/git_state.hpp", ""),
                ("runner/pipeline/pipeline.hpp", ""),
                (path, line + "\n"),
            ]:
                os.makedirs(os.path.join(root, os.path.dirname(name)), exist_ok=True)
                with open(os.path.join(root, name), "w") as stream:
                    stream.write(text)
            return layers.complaints(root)

    def test_what_the_table_allows_passes(self):
        for path, line in [
            ("snapshot/a.cpp", '#include "runner/os/file.hpp"'),
            ("snapshot/a.hpp", '#include "runner/core/run.hpp"'),
            ("snapshot/a.cpp", '#include "snapshot/a.cpp"'),
            ("snapshot/a.cpp", "#include <git2.h>"),
            ("snapshot/git_handle.hpp", "#include <git2.h>"),
            ("snapshot/a.cpp", "#include <vector>"),
            ("runner/shim/a.hpp", "#include <nlohmann/json_fwd.hpp>"),
            ("store/a.cpp", '#include "embedded/history_schema.hpp"'),
        ]:
            with self.subTest(path, line=line):
                self.assertEqual(self.complaints(path, line), [])

    def test_what_it_does_not_allow_is_named_with_file_and_line(self):
        for path, line, words in [
            ("runner/core/a.hpp", '#include "runner/os/file.hpp"', "runner/core must not include runner/os"),
            ("snapshot/a.cpp", '#include "git/git_state.hpp"', "snapshot must not include git"),
            ("runner/cli/a.cpp", '#include "runner/pipeline/pipeline.hpp"', "runner/cli must not include runner/pipeline"),
            ("snapshot/a.cpp", '#  include "git/git_state.hpp"', "snapshot must not include git"),
            ("snapshot/a.cpp", '#include "missing.hpp"', "no path from the source root"),
            ("snapshot/a.cpp", "#include <runner/os/file.hpp>", 'write "runner/os/file.hpp"'),
            ("git/a.hpp", "#include <git2.h>", "belongs in a .cpp or a *_handle.hpp"),
            ("git/a.cpp", "#include <sqlite3.h>", "git does not use sqlite"),
            ("git/a.cpp", '#include "embedded/openapi.hpp"', "must not include generated"),
            ("runner/utils/a.cpp", "#include <vector>", "has no row"),
        ]:
            with self.subTest(path, line=line):
                found = self.complaints(path, line)
                self.assertEqual(len(found), 1, found)
                self.assertTrue(found[0].startswith(path + ":1: "), found)
                self.assertIn(words, found[0])


if __name__ == "__main__":
    unittest.main()
