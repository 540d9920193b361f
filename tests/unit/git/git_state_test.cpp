// The recorded state of a repository against what git itself says.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "git/git_state.hpp"
#include "tests/unit/git/git_repository.hpp"

using runner::GitState;
using runner::git::properties_of;
using runner::git::read_state;
using runner::git::strip_credentials;
using namespace runner::git::test;  // NOLINT(google-build-using-namespace): its helpers are this file's words

// libgit2 1.5 forgets its match data wherever it matches configuration keys with a regular expression and one does not
// match: submodules, `extensions.*`. Only leaks allocated inside PCRE on its behalf are passed over.
extern "C" const char* __lsan_default_suppressions();  // NOLINT(bugprone-reserved-identifier): the sanitizer's name
extern "C" const char* __lsan_default_suppressions() { return "leak:libpcre2-8\n"; }

TEST_CASE("a directory in no repository has no git state") {
  const TempDir dir;
  CHECK_FALSE(state_of(dir.path));
}

TEST_CASE("an unborn branch has a name and no commit") {
  const TempDir dir;
  make_repository(dir.path);
  check_against_git(dir.path);
  CHECK(state_of(dir.path)->branch == "main");
  CHECK_FALSE(state_of(dir.path)->commit);
  CHECK_FALSE(state_of(dir.path)->dirty);
  write(dir.path / "a", "");
  check_against_git(dir.path);
  git(dir.path, {"add", "a"});
  check_against_git(dir.path);
}

TEST_CASE("a detached head has a commit and no branch") {
  const TempDir dir;
  make_repository(dir.path);
  write(dir.path / "a", "");
  commit_all(dir.path);
  git(dir.path, {"checkout", "-q", "--detach"});
  check_against_git(dir.path);
  CHECK_FALSE(state_of(dir.path)->branch);
  CHECK(state_of(dir.path)->commit);
}

TEST_CASE("dirty is what git status says below the source directory") {
  const TempDir dir;
  make_repository(dir.path);
  write(dir.path / "in/a", "1");
  write(dir.path / "in/sub/b", "1");
  write(dir.path / "out/a", "1");
  write(dir.path / "in [x]/a", "1");
  write(dir.path / ".gitignore", "*.log\n");
  commit_all(dir.path);
  SECTION("clean") {}
  SECTION("changed outside") { write(dir.path / "out/a", "2"); }
  SECTION("untracked outside") { write(dir.path / "out/b", ""); }
  SECTION("changed") { write(dir.path / "in/sub/b", "2"); }
  SECTION("changed, same size, same time") {
    struct ::stat info {};
    REQUIRE(::stat((dir.path / "in/a").c_str(), &info) == 0);
    write(dir.path / "in/a", "2");
    const std::array<::timespec, 2> times{info.st_atim, info.st_mtim};
    ::utimensat(AT_FDCWD, (dir.path / "in/a").c_str(), times.data(), 0);
  }
  SECTION("touched only") {
    fs::last_write_time(dir.path / "in/a", fs::file_time_type::clock::now() + std::chrono::hours(1));
  }
  SECTION("staged") {
    write(dir.path / "in/a", "2");
    git(dir.path, {"add", "-A"});
  }
  SECTION("staged and changed back") {
    write(dir.path / "in/a", "2");
    git(dir.path, {"add", "-A"});
    write(dir.path / "in/a", "1");
  }
  SECTION("removed") { fs::remove(dir.path / "in/a"); }
  SECTION("removed from the index only") { git(dir.path, {"rm", "-q", "--cached", "in/a"}); }
  SECTION("untracked") { write(dir.path / "in/new", ""); }
  SECTION("ignored") { write(dir.path / "in/new.log", ""); }
  SECTION("empty directory") { fs::create_directories(dir.path / "in/empty"); }
  SECTION("executable now") { fs::permissions(dir.path / "in/a", fs::perms::all); }
  SECTION("executable now where modes do not count") {
    git(dir.path, {"config", "core.fileMode", "false"});
    fs::permissions(dir.path / "in/a", fs::perms::all);
  }
  SECTION("a link instead of a file") {
    fs::remove(dir.path / "in/a");
    fs::create_symlink("1", dir.path / "in/a");
  }
  SECTION("renamed") { git(dir.path, {"mv", "in/a", "in/c"}); }
  SECTION("intent to add") {
    write(dir.path / "in/new", "");
    git(dir.path, {"add", "-N", "in/new"});
  }
  SECTION("assumed unchanged") {
    git(dir.path, {"update-index", "--assume-unchanged", "in/a"});
    write(dir.path / "in/a", "22");
  }
  SECTION("line ends converted") {
    git(dir.path, {"config", "core.autocrlf", "true"});
    write(dir.path / "in/a", "1");
    git(dir.path, {"add", "-A"});
  }
  check_against_git(dir.path / "in");
  check_against_git(dir.path / "out");
  check_against_git(dir.path / "in [x]");
  check_against_git(dir.path);
}

TEST_CASE("random work agrees with git at every step") {
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const TempDir dir;
  make_repository(dir.path);
  write(dir.path / ".gitignore", "*.log\n/d/tmp/\n");
  const std::vector<std::string> paths{"a", "b.log", "d/a", "d/x.log", "d/tmp/a", "d/e/f", "g/h"};
  for (int step = 0; step < 40; ++step) {
    const std::string& path = paths[random() % paths.size()];
    switch (random() % 8) {
      case 0:
      case 1:
        write(dir.path / path, std::to_string(random() % 3));
        break;
      case 2:
        fs::remove(dir.path / path);
        break;
      case 3:
        run_git(dir.path, {"add", "--", path});
        break;
      case 4:
        run_git(dir.path, {"add", "-f", "--", path});
        break;
      case 5:
        run_git(dir.path, {"rm", "-q", "--cached", "--", path});
        break;
      case 6:
        run_git(dir.path, {"commit", "-q", "-a", "-m", "x"});
        break;
      case 7:
        run_git(dir.path, {"checkout", "-q", random() % 2 == 0 ? "--detach" : "main"});
        break;
    }
    INFO("step " << step);
    check_against_git(dir.path);
    if (fs::is_directory(dir.path / "d")) check_against_git(dir.path / "d");
  }
}

TEST_CASE("conflicts and a rebase under way are read") {
  const TempDir dir;
  make_repository(dir.path);
  write(dir.path / "a", "1\n");
  commit_all(dir.path);
  git(dir.path, {"checkout", "-q", "-b", "other"});
  write(dir.path / "a", "2\n");
  commit_all(dir.path);
  git(dir.path, {"checkout", "-q", "main"});
  write(dir.path / "a", "3\n");
  commit_all(dir.path);
  SECTION("merge") { CHECK(run_git(dir.path, {"merge", "other"}).exit_code != 0); }
  SECTION("rebase") { CHECK(run_git(dir.path, {"rebase", "other"}).exit_code != 0); }
  check_against_git(dir.path);
  CHECK(state_of(dir.path)->dirty);
}

TEST_CASE("linked work trees and submodules are repositories of their own") {
  const TempDir dir;
  const fs::path main = dir.path / "main";
  make_repository(main);
  write(main / "a", "1");
  commit_all(main);
  git(main, {"worktree", "add", "-q", "-b", "side", "../linked"});
  check_against_git(dir.path / "linked");
  CHECK(state_of(dir.path / "linked")->branch == "side");

  const fs::path outer = dir.path / "outer";
  make_repository(outer);
  git(outer, {"submodule", "--quiet", "add", main.string(), "sub"});
  git(outer, {"commit", "-q", "-m", "x"});
  check_against_git(outer / "sub");
  check_against_git(outer);
  CHECK(state_of(outer / "sub")->commit == git(main, {"rev-parse", "HEAD"}));
  write(outer / "sub/a", "2");
  check_against_git(outer / "sub");
  check_against_git(outer);
}

TEST_CASE("the remote is the upstream's, else origin, else the first") {
  const TempDir dir;
  make_repository(dir.path);
  commit_all(dir.path);
  CHECK_FALSE(state_of(dir.path)->repository_uri);
  git(dir.path, {"remote", "add", "zeta", "https://user:secret@example.org/zeta.git"});
  CHECK(state_of(dir.path)->repository_uri == "https://example.org/zeta.git");
  git(dir.path, {"remote", "add", "origin", "git@example.org:o.git"});
  CHECK(state_of(dir.path)->repository_uri == "git@example.org:o.git");
  git(dir.path, {"config", "branch.main.remote", "zeta"});
  git(dir.path, {"config", "branch.main.merge", "refs/heads/main"});
  CHECK(state_of(dir.path)->repository_uri == "https://example.org/zeta.git");
  git(dir.path, {"config", "branch.main.remote", "."});
  CHECK(state_of(dir.path)->repository_uri == "git@example.org:o.git");
  git(dir.path, {"config", "branch.main.remote", "https://token@example.org/direct.git"});
  CHECK(state_of(dir.path)->repository_uri == "https://example.org/direct.git");
  git(dir.path, {"config", "--unset", "branch.main.remote"});
  git(dir.path, {"config", "url.https://mirror.example.org/.insteadOf", "git@example.org:"});
  CHECK(state_of(dir.path)->repository_uri == git(dir.path, {"remote", "get-url", "origin"}));
}

TEST_CASE("a rewriting of the URL brings no password to light") {
  const TempDir dir;
  make_repository(dir.path);
  git(dir.path, {"remote", "add", "origin", "https://user:secret@example.org/x.git"});
  git(dir.path, {"config", "remote.origin.pushurl", "https://user:secret@example.org/push.git"});
  const std::string base = GENERATE(as<std::string>{}, "https://user:", "https://us", "https://user:sec",
                                    "https://user:secret@", "https://", "h", "https://user:secret@example.org/");
  for (const char* kind : {"insteadOf", "pushInsteadOf"})
    git(dir.path, {"config", std::string("url.https://u:secret@mirror.example.org/.") + kind, base});
  INFO(base);
  const auto state = state_of(dir.path);
  REQUIRE(state->repository_uri);
  INFO(*state->repository_uri);
  CHECK(state->repository_uri->find("sec") == std::string::npos);
  CHECK(state->repository_uri->find("ret") == std::string::npos);
}

TEST_CASE("what cannot be read becomes a note") {
  const TempDir dir;
  make_repository(dir.path);
  write(dir.path / "a", "1");
  commit_all(dir.path);
  fs::path directory = dir.path;
  SECTION("index damaged") { write(dir.path / ".git/index", "DIRC damaged"); }
  SECTION("objects gone") {
    fs::remove_all(dir.path / ".git/objects");
    fs::create_directories(dir.path / ".git/objects");
  }
  SECTION("branch damaged") { write(dir.path / ".git/refs/heads/main", "no hash\n"); }
  SECTION("configuration damaged") { write(dir.path / ".git/config", "[core\n"); }
  SECTION("unknown extension") {
    git(dir.path, {"config", "core.repositoryformatversion", "1"}),
        git(dir.path, {"config", "extensions.objectFormat", "sha256"});
  }
  SECTION("bare") {
    git(dir.path, {"clone", "-q", "--bare", ".", "bare"});
    directory = dir.path / "bare";
  }
  SECTION("git's own directory") { directory = dir.path / ".git"; }
  std::vector<std::string> notes;
  CHECK_FALSE(read_state(directory, notes));
  CHECK(notes.size() == 1);
}

TEST_CASE("nothing is executed and no variable redirects") {
  const TempDir dir;
  make_repository(dir.path);
  const std::string touch = "touch " + (dir.path.parent_path() / (dir.path.filename().string() + "-executed")).string();
  const fs::path proof = touch.substr(6);
  write(dir.path / ".gitattributes", "*.py filter=evil diff=evil\n");
  write(dir.path / "a.py", "1");
  commit_all(dir.path);
  const std::string commit = git(dir.path, {"rev-parse", "HEAD"});
  for (const char* key :
       {"core.fsmonitor", "filter.evil.clean", "filter.evil.process", "diff.evil.textconv", "diff.external",
        "core.sshCommand", "credential.helper", "core.pager", "uploadpack.packObjectsHook"})
    git(dir.path, {"config", key, touch});
  git(dir.path, {"config", "core.hooksPath", dir.path / "hooks"});
  for (const char* hook : {"post-index-change", "fsmonitor-watchman", "pre-commit"}) {
    write(dir.path / "hooks" / hook, "#!/bin/sh\n" + touch + "\n");
    fs::permissions(dir.path / "hooks" / hook, fs::perms::all);
  }
  write(dir.path / "a.py", "2");
  const TempDir other;
  make_repository(other.path);
  ::setenv("GIT_DIR", (other.path / ".git").c_str(), 1);
  ::setenv("GIT_WORK_TREE", other.path.c_str(), 1);
  ::setenv("GIT_INDEX_FILE", "/nonexistent", 1);
  std::vector<std::string> notes;
  const auto source = source_of(dir.path, notes);
  for (const char* name : {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}) ::unsetenv(name);
  REQUIRE(source);
  CHECK(source->state.commit == commit);
  CHECK(source->state.dirty);
  CHECK(source->patch == "# runner: left out: a.py: under a filter program of .gitattributes, which is not run\n");
  CHECK(notes.size() == 1);
  CHECK_FALSE(fs::exists(proof));
}

TEST_CASE("a repository of another owner is read all the same") {
  const TempDir dir;
  make_repository(dir.path);
  commit_all(dir.path);
  if (::chown(dir.path.c_str(), 12345, 12345) != 0 || ::chown((dir.path / ".git").c_str(), 12345, 12345) != 0) {
    WARN("needs root to give a repository away");
    return;
  }
  const auto state = state_of(dir.path);
  REQUIRE(state);
  CHECK(state->commit);
}

TEST_CASE("untracked files are asked for where the caller knows better") {
  const TempDir dir;
  make_repository(dir.path);
  commit_all(dir.path);
  std::vector<std::string> notes;
  fs::path asked;
  CHECK(read_state(dir.path, notes, [&](const fs::path& path) { return asked = path, true; })->dirty);
  CHECK(asked == dir.path);
  write(dir.path / "new", "");
  CHECK_FALSE(read_state(dir.path, notes, [](const fs::path&) { return false; })->dirty);
}

TEST_CASE("reading leaves the index alone") {
  const TempDir dir;
  make_repository(dir.path);
  write(dir.path / "a", "1");
  commit_all(dir.path);
  fs::last_write_time(dir.path / "a", fs::file_time_type::clock::now() + std::chrono::hours(1));
  const auto before = fs::last_write_time(dir.path / ".git/index");
  state_of(dir.path);
  CHECK(fs::last_write_time(dir.path / ".git/index") == before);
}

TEST_CASE("credentials never leave the URL's head") {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"https://user:secret@host/x.git", "https://host/x.git"},
      {"https://token@host/x.git", "https://host/x.git"},
      {"https://host/x.git", "https://host/x.git"},
      {"https://host:8443/x@y.git", "https://host:8443/x@y.git"},
      {"https://u:p@ss@host/x", "https://host/x"},
      {"https://u:pa/ss@host/x", "https://host/x"},
      {"HTTPS://u:p@host/x?private_token=abc", "HTTPS://host/x"},
      {"https://host/x?access_token=abc#f", "https://host/x"},
      {"http://[::1]:80/x", "http://[::1]:80/x"},
      {"ssh://git@host:22/x", "ssh://git@host:22/x"},
      {"ssh://git:secret@host/x", "ssh://git@host/x"},
      {"git+ssh://git:secret@host/x", "git+ssh://git@host/x"},
      {"git@host:x.git", "git@host:x.git"},
      {"git:secret@host:x.git", "git@host:x.git"},
      {"foo::https://u:p@host/x", "foo::https://host/x"},
      {"/srv/git/x@y.git", "/srv/git/x@y.git"},
      {"../x", "../x"},
      {"file:///srv/x", "file:///srv/x"},
      {"C:\\x", "C:\\x"},
      {"x://name@host:no/port@N/c", "x://N/c"},
      {"", ""},
  };
  for (const auto& [url, stripped] : cases) {
    INFO(url);
    CHECK(strip_credentials(url) == stripped);
    CHECK(strip_credentials(stripped) == stripped);
  }
}

TEST_CASE("properties have Azure ML's and MLflow's names and absent facts are absent") {
  GitState state{.repository_uri = "https://host/x", .branch = "main", .commit = "abc", .dirty = true};
  CHECK(properties_of(state) == std::map<std::string, std::string>{{"azureml.git.repository_uri", "https://host/x"},
                                                                   {"azureml.git.branch", "main"},
                                                                   {"azureml.git.commit", "abc"},
                                                                   {"azureml.git.dirty", "True"},
                                                                   {"mlflow.source.git.repoURL", "https://host/x"},
                                                                   {"mlflow.source.git.branch", "main"},
                                                                   {"mlflow.source.git.commit", "abc"}});
  CHECK(properties_of(GitState{}) == std::map<std::string, std::string>{{"azureml.git.dirty", "False"}});
}
