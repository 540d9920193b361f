// Which files are in: what the random comparison with git does not reach.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "support.hpp"

namespace fs = std::filesystem;
using runner::Error;
using runner::ErrorCode;
using namespace runner::test;
using namespace runner::snapshot;

namespace {

std::vector<std::string> files(const fs::path& source, const fs::path& data = {}) {
  return list_files({.source = source, .data_directory = data, .stat_cache = {}});
}

Explanation why(const fs::path& source, const std::string& path) {
  return explain({.source = source, .data_directory = source / "data", .stat_cache = {}}, path);
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("outside any repository the .gitignore files count") {
  const TempDir dir;
  write_file(dir.path() / ".gitignore", "*.log\n");
  write_file(dir.path() / "a.log", "");
  write_file(dir.path() / "sub/.gitignore", "!keep.log\n");
  write_file(dir.path() / "sub/keep.log", "");
  write_file(dir.path() / "sub/drop.log", "");
  CHECK(files(dir.path()) == Names{".gitignore", "sub/.gitignore", "sub/keep.log"});
}

TEST_CASE("an .amlignore at the root silences every .gitignore") {
  const TempDir dir;
  write_file(dir.path() / ".amlignore", "*.tmp\n");
  write_file(dir.path() / ".gitignore", "*.log\n");
  write_file(dir.path() / "a.log", "");
  write_file(dir.path() / "a.tmp", "");
  CHECK(files(dir.path()) == Names{".amlignore", ".gitignore", "a.log"});
  fs::rename(dir.path() / ".amlignore", dir.path() / "sub.amlignore");
  write_file(dir.path() / "sub/.amlignore", "*\n");  // not at the root: an ordinary file
  CHECK(files(dir.path()) == Names{".gitignore", "a.tmp", "sub.amlignore", "sub/.amlignore"});
}

TEST_CASE("git's directory, virtual environments and the data directory are always out") {
  const TempDir dir;
  make_repository(dir.path());
  write_file(dir.path() / "train.py", "");
  write_file(dir.path() / "venv/pyvenv.cfg", "");
  write_file(dir.path() / "venv/lib/x.py", "");
  write_file(dir.path() / "conda/conda-meta/history", "");
  write_file(dir.path() / "conda/bin/python", "");
  write_file(dir.path() / "data/runner.db", "");
  write_file(dir.path() / "kept/conda-meta", "a file of that name means nothing");
  CHECK(files(dir.path(), dir.path() / "data") == Names{"kept/conda-meta", "train.py"});
  CHECK(why(dir.path(), "venv/lib/x.py").reason == "built-in: virtual environment");
  CHECK(why(dir.path(), "conda").reason == "built-in: virtual environment");
  CHECK(why(dir.path(), "data/runner.db").reason == "built-in: the runner's data directory");
  CHECK(why(dir.path(), ".git/HEAD").reason == "built-in: git's own directory");
  CHECK_FALSE(why(dir.path(), ".git").included);
}

TEST_CASE("a nested repository's files are in as its own rules and its own index say") {
  const TempDir dir;
  make_repository(dir.path());
  write_file(dir.path() / ".gitignore", "*.bin\nignored-clone/\n");
  write_file(dir.path() / "ignored-clone/x", "");
  const fs::path nested = dir.path() / "lib";
  make_repository(nested);
  make_repository(dir.path() / "ignored-clone");
  write_file(nested / ".gitignore", "*.log\n");
  write_file(nested / "model.bin", "");
  write_file(nested / "a.log", "");
  write_file(nested / "tracked.log", "");
  git(nested, {"add", "-f", "tracked.log"});
  CHECK(files(dir.path()) == Names{".gitignore", "lib/.gitignore", "lib/model.bin", "lib/tracked.log"});
  Names of_git = split_nul(git(nested, {"ls-files", "-z", "-co", "--exclude-standard"}));
  CHECK(of_git.size() == 3);
  CHECK(why(dir.path(), "lib/a.log").reason == "lib/.gitignore:1: *.log");
  CHECK(why(dir.path(), "lib/tracked.log").reason == "tracked");
}

TEST_CASE("a submodule's files are in though the outer repository ignores its path") {
  const TempDir dir;
  const fs::path sub = dir.path() / "vendor" / "sub";
  make_repository(dir.path());
  fs::create_directories(sub);
  git(sub, {"init", "-q"});
  write_file(sub / "code.py", "1");
  git(sub, {"add", "."});
  git(sub, {"commit", "-q", "-m", "x"});
  git(dir.path(), {"-c", "advice.addEmbeddedRepo=false", "add", "vendor/sub"});
  write_file(dir.path() / ".gitignore", "vendor/\n");
  write_file(dir.path() / "vendor" / "other", "");
  CHECK(files(dir.path()) == Names{".gitignore", "vendor/sub/code.py"});
}

TEST_CASE("the index of a linked work tree counts") {
  const TempDir dir;
  const fs::path main = dir.path() / "main";
  fs::create_directories(main);
  git(main, {"init", "-q"});
  write_file(main / "kept.log", "");
  git(main, {"add", "."});
  git(main, {"commit", "-q", "-m", "x"});
  git(main, {"worktree", "add", "-q", "../linked"});
  write_file(main / ".git/info/exclude", "*.log\n");
  write_file(dir.path() / "linked" / "new.log", "");
  CHECK(files(dir.path() / "linked") == Names{"kept.log"});
}

TEST_CASE("a repository that cannot be read is a warning, not the end") {
  const TempDir dir;
  make_repository(dir.path());
  write_file(dir.path() / "a.py", "");
  write_file(dir.path() / ".git/index", "DIRC this is no index");
  MemoryStore store;
  const Snapshot taken = take({.source = dir.path(), .data_directory = {}, .stat_cache = {}}, store);
  CHECK(taken.files == 1);
  REQUIRE(taken.warnings.size() == 1);
  CHECK_THAT(taken.warnings[0], Catch::Matchers::Contains("index"));
}

TEST_CASE("environment variables do not lead to another repository") {
  const TempDir dir;
  const TempDir other;
  make_repository(other.path());
  write_file(dir.path() / "x.log", "");
  write_file(other.path() / ".git/info/exclude", "*\n");
  ::setenv("GIT_DIR", (other.path() / ".git").c_str(), 1);
  CHECK(files(dir.path()) == Names{"x.log"});
  ::unsetenv("GIT_DIR");
}

TEST_CASE("an ignore file that is a symbolic link is not read") {
  const TempDir dir;
  write_file(dir.path() / "rules", "*.log\n");
  fs::create_symlink("rules", dir.path() / ".gitignore");
  write_file(dir.path() / "a.log", "");
  CHECK(files(dir.path()) == Names{".gitignore", "a.log", "rules"});
}

TEST_CASE("ignored directories are not looked into") {
  if (::geteuid() == 0) {
    WARN("runs as root, who may read anything: only the result is compared");
  }
  const TempDir dir;
  write_file(dir.path() / ".gitignore", "secret/\n");
  write_file(dir.path() / "secret/x", "");
  fs::permissions(dir.path() / "secret", fs::perms::none);
  CHECK(files(dir.path()) == Names{".gitignore"});
}

TEST_CASE("explain names the file, the line and the pattern that decide") {
  const TempDir dir;
  const fs::path source = dir.path() / "project";
  make_repository(dir.path());
  write_file(dir.path() / ".gitignore", "\n*.o\n");
  write_file(source / ".gitignore", "# comment\nbuild/\n*.log\n!keep.log\n");
  write_file(source / "build/x", "");
  write_file(source / "build/tracked", "");
  write_file(source / "a.log", "");
  write_file(source / "keep.log", "");
  write_file(source / "main.o", "");
  write_file(source / "plain", "");
  write_file(dir.path() / ".git/info/exclude", "*.swp\n");
  write_file(source / "a.swp", "");
  git(source, {"add", "-f", "build/tracked"});
  CHECK(why(source, "a.log").reason == ".gitignore:3: *.log");
  CHECK_FALSE(why(source, "a.log").included);
  CHECK(why(source, "keep.log").reason == ".gitignore:4: !keep.log");
  CHECK(why(source, "keep.log").included);
  CHECK(why(source, "build/x").reason == ".gitignore:2: build/ (ignores build/)");
  CHECK(why(source, "build/tracked").reason == "tracked");
  CHECK(why(source, "main.o").reason == "../.gitignore:2: *.o");
  CHECK(why(source, "a.swp").reason == (dir.path() / ".git/info/exclude:1: *.swp").string());
  CHECK(why(source, "./plain").reason == "not ignored");
  CHECK(why(source, "gone").reason == "missing");
  CHECK(why(source, "plain/x").reason == "plain is not a directory");
  CHECK_THROWS_AS(why(source, "../x"), Error);
  CHECK_THROWS_AS(why(source, "/etc/passwd"), Error);
}

TEST_CASE("explain and the list agree about every file") {
  const TempDir dir;
  make_repository(dir.path());
  write_file(dir.path() / ".gitignore", "/a/*\n!/a/b\n*.c\n");
  for (const char* path : {"a/x", "a/b/y", "a/b/z.c", "c.c", "d/e.c/f", "g"}) write_file(dir.path() / path, "");
  git(dir.path(), {"add", "-f", "a/b/z.c"});
  const Names in = files(dir.path());
  for (const char* path : {"a/x", "a/b/y", "a/b/z.c", "c.c", "d/e.c/f", "g"}) {
    INFO(path << ": " << why(dir.path(), path).reason);
    CHECK(why(dir.path(), path).included == (std::find(in.begin(), in.end(), path) != in.end()));
  }
}

TEST_CASE("a missing source directory and a file as source are said to be that") {
  const TempDir dir;
  write_file(dir.path() / "file", "");
  try {
    files(dir.path() / "none");
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kNotFound);
  }
  try {
    files(dir.path() / "file");
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInvalid);
  }
}
