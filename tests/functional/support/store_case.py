"""The base of the tests that look into content.db and runner.db beside the daemon."""
import os
import re
import sqlite3

from .case import RunnerTest


class StoreTest(RunnerTest):
    """Looks into content.db beside the daemon, read-only."""
    fresh_home = True

    def content(self, sql, *values):
        database = sqlite3.connect("file:%s/content.db?mode=ro" % self.home.data, uri=True, timeout=20)
        try:
            return database.execute(sql, values).fetchall()
        finally:
            database.close()

    def logical_contents(self):
        """Every row of both databases, and every file of the home that is not the daemon's own."""
        rows = {}
        for name in ("content.db", "runner.db"):
            database = sqlite3.connect("file:%s/%s?mode=ro" % (self.home.data, name), uri=True, timeout=20)
            try:
                for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                    rows[name + "/" + table] = sorted(database.execute("SELECT * FROM %s" % table).fetchall(), key=repr)
            finally:
                database.close()
        files = {}
        for directory, names, found in os.walk(self.home.data):
            for name in names + found:
                path = os.path.join(directory, name)
                if os.path.isfile(path) and not re.search(r"/(daemon\.(log|lock|json)|(runner|content)\.db[^/]*)$", path):
                    with open(path, "rb") as file:
                        files[path] = file.read()
                else:
                    files[path] = None
        return rows, files

    def store_size(self):
        return sum(os.path.getsize(self.home.data + "/content.db" + suffix) for suffix in ("", "-wal"))

    def gc(self, *options):
        return self.ok("gc", "--json", *options, timeout=120).json

    def tree(self, count, name="t", size=2000):
        """A directory of the project with `count` files of random bytes."""
        for number in range(count):
            self.write("%s/d%d/f%d" % (name, number % 7, number), os.urandom(size))
        return self.project + "/" + name

    def create(self, directory):
        return self.ok("snapshot", "create", directory).text.strip()

    def assert_fsck_clean(self):
        result = self.runner("fsck", timeout=120)
        self.assertEqual(result.code, 0, result.describe())
        self.assertIn("all is well", result.text)
