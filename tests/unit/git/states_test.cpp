// States a repository can be in, each against what git itself says.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/unit/git/git_repository.hpp"

using namespace runner::git::test;  // NOLINT(google-build-using-namespace): its helpers are this file's words

namespace {

// main: a, d/b; other: the same with a changed; main ahead by another change of a.
void make_diverged(const fs::path& directory) {
  make_repository(directory);
  write(directory / "a", "1\n");
  write(directory / "d/b", "1\n");
  commit_all(directory);
  git(directory, {"checkout", "-q", "-b", "other"});
  write(directory / "a", "2\n");
  commit_all(directory);
  git(directory, {"checkout", "-q", "main"});
  write(directory / "a", "3\n");
  commit_all(directory);
}

}  // namespace

TEST_CASE("operations under way") {
  const TempDir dir;
  make_diverged(dir.path);
  SECTION("a merge in conflict") { CHECK(run_git(dir.path, {"merge", "other"}).exit_code != 0); }
  SECTION("a rebase in conflict") {
    CHECK(run_git(dir.path, {"rebase", "other"}).exit_code != 0);
    CHECK_FALSE(state_of(dir.path)->branch);
  }
  SECTION("a cherry-pick in conflict") { CHECK(run_git(dir.path, {"cherry-pick", "other"}).exit_code != 0); }
  SECTION("a revert in conflict") { CHECK(run_git(dir.path, {"revert", "--no-edit", "HEAD~1"}).exit_code != 0); }
  SECTION("a bisection") {
    git(dir.path, {"bisect", "start", "HEAD", "HEAD~1"});
    git(dir.path, {"checkout", "-q", "HEAD~1"});
  }
  SECTION("a stash") {
    write(dir.path / "a", "4\n");
    git(dir.path, {"stash", "-q"});
  }
  check_against_git(dir.path);
  if (fs::exists(dir.path / "d")) check_against_git(dir.path / "d");  // the revert removes it
}

TEST_CASE("flags of index entries") {
  const TempDir dir;
  make_diverged(dir.path);
  SECTION("assume-unchanged and removed") {
    git(dir.path, {"update-index", "--assume-unchanged", "a"});
    fs::remove(dir.path / "a");
  }
  SECTION("skip-worktree and edited") {
    git(dir.path, {"update-index", "--skip-worktree", "a"});
    write(dir.path / "a", "44\n");
  }
  SECTION("skip-worktree and removed") {
    git(dir.path, {"update-index", "--skip-worktree", "a"});
    fs::remove(dir.path / "a");
  }
  SECTION("announced and removed") {
    write(dir.path / "new", "");
    git(dir.path, {"add", "-N", "new"});
    fs::remove(dir.path / "new");
  }
  SECTION("only the mode, where modes count") { fs::permissions(dir.path / "a", fs::perms::owner_all); }
  SECTION("only the mode, where they do not") {
    git(dir.path, {"config", "core.fileMode", "false"});
    fs::permissions(dir.path / "a", fs::perms::owner_all);
  }
  SECTION("the index of version 4") {
    git(dir.path, {"update-index", "--index-version", "4"});
    write(dir.path / "d/b", "2\n");
  }
  SECTION("an index never refreshed") {
    git(dir.path, {"read-tree", "HEAD"});  // no stat data in it
  }
  SECTION("an index never refreshed, and a change") {
    git(dir.path, {"read-tree", "HEAD"});
    write(dir.path / "a", "x\n");
  }
  SECTION("an untracked cache") { git(dir.path, {"update-index", "--force-untracked-cache"}); }
  SECTION("links are files") {
    fs::create_symlink("a", dir.path / "link");
    commit_all(dir.path);
    git(dir.path, {"config", "core.symlinks", "false"});
    fs::remove(dir.path / "link");
    write(dir.path / "link", "a");
  }
  SECTION("a FIFO instead of a file") {
    fs::remove(dir.path / "a");
    REQUIRE(::mkfifo((dir.path / "a").c_str(), 0600) == 0);
  }
  SECTION("a directory instead of a file") {
    fs::remove(dir.path / "a");
    fs::create_directories(dir.path / "a");
  }
  SECTION("a link instead of a directory") {
    fs::rename(dir.path / "d", dir.path / "e");
    fs::create_symlink("e", dir.path / "d");
  }
  check_against_git(dir.path);
}

TEST_CASE("submodules are what git status makes of them") {
  const TempDir dir;
  const fs::path inner = dir.path / "inner";
  make_diverged(inner);
  const fs::path outer = dir.path / "outer";
  make_repository(outer);
  write(outer / "src/x", "1\n");
  git(outer, {"submodule", "--quiet", "add", inner.string(), "src/sub"});
  commit_all(outer);
  const fs::path sub = outer / "src/sub";
  SECTION("clean") { CHECK_FALSE(state_of(outer)->dirty); }
  SECTION("a changed file in it") {
    write(sub / "a", "x\n");
    CHECK(source_of(outer)->patch == "# runner: the submodule src/sub has uncommitted changes of its own\n");
  }
  SECTION("an untracked file in it") { write(sub / "new", ""); }
  SECTION("an ignored file in it") {
    write(sub / ".gitignore", "*.log\n.gitignore\n");
    write(sub / "new.log", "");
  }
  SECTION("another commit") {
    git(sub, {"checkout", "-q", "HEAD~1"});
    CHECK(source_of(outer)->patch == git(outer, {"diff", "--full-index", "HEAD"}) + "\n");
  }
  SECTION("another commit, staged") {
    git(sub, {"checkout", "-q", "HEAD~1"});
    git(outer, {"add", "src/sub"});
  }
  SECTION("not initialised") {
    git(outer, {"submodule", "--quiet", "deinit", "-f", "src/sub"});
    CHECK_FALSE(state_of(outer)->dirty);
  }
  SECTION("removed") { fs::remove_all(sub); }
  SECTION("a file instead") {
    fs::remove_all(sub);
    write(sub, "x");
  }
  for (const char* ignore : {"none", "untracked", "dirty", "all"})
    for (const char* where : {".gitmodules", ".git/config"}) DYNAMIC_SECTION("ignore = " << ignore << " in " << where) {
        git(outer, {"config", "-f", where, "submodule.src/sub.ignore", ignore});
        git(outer, {"commit", "-q", "--allow-empty", "-a", "-m", "x"});
        check_against_git(outer);
        write(sub / "new", "");
        check_against_git(outer);
        write(sub / "a", "x\n");
        check_against_git(outer);
        git(sub, {"commit", "-q", "-a", "-m", "x"});
        check_against_git(outer);
      }
  check_against_git(outer);
  check_against_git(outer / "src");
  if (fs::exists(sub / ".git")) check_against_git(sub);
}

TEST_CASE("nested repositories are one untracked thing") {
  const TempDir dir;
  make_diverged(dir.path);
  make_repository(dir.path / "nested");
  write(dir.path / "nested/x", "");
  SECTION("with a commit") { commit_all(dir.path / "nested"); }
  SECTION("without one") {}
  CHECK(state_of(dir.path)->dirty);
  CHECK(source_of(dir.path)->untracked == "nested/\n");
  check_against_git(dir.path / "nested");
}

TEST_CASE("partial views of a history") {
  const TempDir dir;
  const fs::path whole = dir.path / "whole";
  make_diverged(whole);
  write(whole / "kept/x", "1\n");
  write(whole / "left/y", "1\n");
  write(whole / "left/deeper/z", "1\n");
  commit_all(whole);
  git(whole, {"config", "uploadpack.allowFilter", "true"});
  const fs::path part = dir.path / "part";
  const std::string url = "file://" + whole.string();
  SECTION("shallow") {
    git(dir.path, {"clone", "-q", "--depth=1", url, "part"});
    CHECK(fs::exists(part / ".git/shallow"));
  }
  SECTION("without blobs") { git(dir.path, {"clone", "-q", "--filter=blob:none", url, "part"}); }
  SECTION("without trees") { git(dir.path, {"clone", "-q", "--filter=tree:0", url, "part"}); }
  SECTION("sparse, by patterns") {
    git(dir.path, {"clone", "-q", url, "part"});
    git(part, {"sparse-checkout", "set", "--no-cone", "/kept/", "/a"});
    CHECK_FALSE(fs::exists(part / "left"));
  }
  SECTION("sparse, by cones") {
    git(dir.path, {"clone", "-q", url, "part"});
    git(part, {"sparse-checkout", "set", "--cone", "kept"});
  }
  SECTION("a sparse index") {
    git(dir.path, {"clone", "-q", url, "part"});
    git(part, {"sparse-checkout", "set", "--cone", "--sparse-index", "kept"});
    CHECK(git(part, {"ls-files", "--sparse"}).find("left/") != std::string::npos);
  }
  SECTION("sparse, in a partial clone") {
    git(dir.path, {"clone", "-q", "--filter=blob:none", "--sparse", url, "part"});
    git(part, {"sparse-checkout", "set", "kept"});
  }
  // Nothing is fetched: what it was cloned from is gone.
  fs::rename(whole, dir.path / "gone");
  check_against_git(part);
  check_against_git(part / "kept");
  write(part / "new", "");
  check_against_git(part);
  fs::remove(part / "new");
  write(part / "kept/x", "22\n");
  check_against_git(part / "kept");
  check_against_git(part);
  git(part, {"add", "kept/x"});
  check_against_git(part);
}

TEST_CASE("files in the parts that a sparse checkout leaves out") {
  const TempDir dir;
  make_diverged(dir.path);
  write(dir.path / "kept/x", "1\n");
  write(dir.path / "left/y", "1\n");
  write(dir.path / "left/z", "1\n");
  commit_all(dir.path);
  SECTION("an index with every file") { git(dir.path, {"sparse-checkout", "set", "--cone", "kept"}); }
  SECTION("a sparse index") { git(dir.path, {"sparse-checkout", "set", "--cone", "--sparse-index", "kept"}); }
  SECTION("patterns") { git(dir.path, {"sparse-checkout", "set", "--no-cone", "/kept/"}); }
  check_against_git(dir.path);
  // git itself would clear the flag of what is there, and write that down: it looks at a copy.
  const auto check_with_copy = [&] {
    const TempDir copy;
    fs::copy(dir.path, copy.path, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    const std::string status = git(copy.path, {"status", "--porcelain"});
    INFO("git status: " << status);
    CHECK(state_of(dir.path)->dirty == !status.empty());
  };
  write(dir.path / "left/y", "1\n");
  check_with_copy();
  write(dir.path / "left/y", "2\n");
  check_with_copy();
}

TEST_CASE("a missing promised content is left out of the patch, and nothing is fetched") {
  const TempDir dir;
  make_diverged(dir.path / "whole");
  git(dir.path / "whole", {"config", "uploadpack.allowFilter", "true"});
  git(dir.path, {"clone", "-q", "--filter=blob:none", "-n", "file://" + (dir.path / "whole").string(), "part"});
  const fs::path part = dir.path / "part";
  git(part, {"read-tree", "HEAD"});
  write(part / "a", "changed\n");
  std::vector<std::string> notes;
  const auto source = source_of(part, notes);
  REQUIRE(source);
  CHECK(source->state.dirty);
  REQUIRE(notes.size() == 1);
  CHECK(notes[0].find("its committed content is not here") != std::string::npos);
  CHECK(git(part, {"rev-list", "--objects", "--all", "--missing=print"}).find('?') != std::string::npos);
}

TEST_CASE("configuration that includes, and of work trees") {
  const TempDir dir;
  make_diverged(dir.path / "main");
  const fs::path main = dir.path / "main";
  write(dir.path / "included", "[core]\n\tfileMode = false\n[remote \"origin\"]\n\turl = https://u:p@example.org/x\n");
  fs::permissions(main / "a", fs::perms::owner_all);
  SECTION("include") { git(main, {"config", "include.path", "../../included"}); }
  SECTION("includeIf") { git(main, {"config", "includeIf.gitdir:" + main.string() + "/.path", "../../included"}); }
  SECTION("a work tree's own") {
    git(main, {"config", "extensions.worktreeConfig", "true"});
    git(main, {"worktree", "add", "-q", "../linked"});
    git(dir.path / "linked", {"config", "--worktree", "core.fileMode", "false"});
    fs::permissions(dir.path / "linked/a", fs::perms::owner_all);
    check_against_git(dir.path / "linked");
    CHECK_FALSE(state_of(dir.path / "linked")->dirty);
  }
  check_against_git(main);
}

TEST_CASE("no tracked file is passed over for untracked files' settings") {
  const TempDir dir;
  make_diverged(dir.path);
  git(dir.path, {"config", "status.showUntrackedFiles", "no"});
  write(dir.path / "new", "");
  check_against_git(dir.path);
  CHECK(state_of(dir.path)->dirty);
}

TEST_CASE("git's large files are compared by their pointers") {
  const TempDir dir;
  make_repository(dir.path);
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\n"
      "oid sha256:3ea6ab9b5bcd4a7e4f6c4a6d26b7c8e4d6ed4a8e8f1d4f0a0f1f8f2c7fa1b2c3\nsize 14\n";
  write(dir.path / ".gitattributes", "*.big filter=lfs -text\n");
  write(dir.path / "x.big", pointer);
  commit_all(dir.path);
  git(dir.path, {"config", "filter.lfs.clean", "false"});
  check_against_git(dir.path);
  fs::last_write_time(dir.path / "x.big", fs::file_time_type::clock::now() + std::chrono::hours(1));
  CHECK_FALSE(state_of(dir.path)->dirty);  // a pointer stays one
  write(dir.path / "x.big", "large content\n");
  const auto source = source_of(dir.path);
  CHECK(source->state.dirty);
  // `printf 'large content\n' | sha256sum`
  CHECK(source->patch.find(
            "\n+oid sha256:ca27f3a1fa46b52b9b770c0f09ec44d48b0f6a1e6b0c8955b8ac1976b6d6c3cb\n size 14\n") !=
        std::string::npos);
}

TEST_CASE("what libgit2 1.5 cannot read is a note") {
  const TempDir dir;
  SECTION("SHA-256 objects") { git(dir.path, {"init", "-q", "--object-format=sha256"}); }
  SECTION("a split index") {
    make_diverged(dir.path);
    git(dir.path, {"update-index", "--split-index"});
  }
  SECTION("reference tables") {
    if (run_git(dir.path, {"init", "-q", "--ref-format=reftable"}).exit_code != 0) {
      WARN("this git knows no reference tables: written by hand");
      make_repository(dir.path);
      git(dir.path, {"config", "core.repositoryFormatVersion", "1"});
      git(dir.path, {"config", "extensions.refStorage", "reftable"});
    }
  }
  write(dir.path / "a", "");
  std::vector<std::string> notes;
  CHECK_FALSE(source_of(dir.path, notes));
  REQUIRE(notes.size() == 1);
  CHECK(notes[0].starts_with("git: the repository cannot be read: "));
}
