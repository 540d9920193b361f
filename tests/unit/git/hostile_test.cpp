// Repositories made to harm whoever reads them: nothing runs, nothing is waited for, nothing outside is changed.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <map>

#include "runner/core/error.hpp"
#include "runner/os/git_index.hpp"
#include "tests/unit/git/git_repository.hpp"

using namespace runner::git::test;  // NOLINT(google-build-using-namespace): its helpers are this file's words

namespace {

void make_fifo(const fs::path& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
  fs::create_directories(path.parent_path());
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
}

// Everything about the files below: type, mode, size, times, and where it is a file its content.
std::map<std::string, std::string> image_of(const fs::path& directory) {
  std::map<std::string, std::string> image;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    struct ::stat info {};
    REQUIRE(::lstat(entry.path().c_str(), &info) == 0);
    std::string& text = image[entry.path().string()];
    text = std::to_string(info.st_mode) + " " + std::to_string(info.st_size) + " " + std::to_string(info.st_ino) + " " +
           std::to_string(info.st_mtim.tv_sec) + "." + std::to_string(info.st_mtim.tv_nsec) + " " +
           std::to_string(info.st_ctim.tv_sec) + "." + std::to_string(info.st_ctim.tv_nsec) + "\n";
    if (!S_ISREG(info.st_mode)) continue;
    std::ifstream stream(entry.path(), std::ios::binary);
    text.append(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  return image;
}

void make_one_commit(const fs::path& directory) {
  make_repository(directory);
  write(directory / "a", "1\n");
  write(directory / "d/b", "1\n");
  commit_all(directory);
}

}  // namespace

TEST_CASE("no program that a repository names is started") {
  const TempDir dir;
  const TempDir outside;
  const fs::path repository = dir.path / "r";
  const fs::path proof = outside.path / "executed";
  const fs::path program = outside.path / "program";
  write(program, "#!/bin/sh\necho \"$0 $*\" >> " + proof.string() + "\n");
  fs::permissions(program, fs::perms::all);
  make_one_commit(repository);
  make_one_commit(dir.path / "inner");
  git(repository, {"submodule", "--quiet", "add", (dir.path / "inner").string(), "sub"});
  write(repository / ".gitattributes", "* filter=evil diff=evil merge=evil text=auto working-tree-encoding=UTF-8\n");
  commit_all(repository);
  const auto poison = [&](const fs::path& git_directory) {
    for (const char* key : {"core.fsmonitor",
                            "core.sshCommand",
                            "core.gitProxy",
                            "core.askPass",
                            "core.editor",
                            "core.pager",
                            "core.alternateRefsCommand",
                            "core.hooksPath",
                            "filter.evil.clean",
                            "filter.evil.smudge",
                            "filter.evil.process",
                            "diff.evil.textconv",
                            "diff.evil.command",
                            "diff.external",
                            "merge.evil.driver",
                            "credential.helper",
                            "gpg.program",
                            "uploadpack.packObjectsHook",
                            "remote.origin.uploadpack",
                            "remote.origin.vcs",
                            "remote.origin.promisor",
                            "submodule.sub.update",
                            "alias.status",
                            "sequence.editor",
                            "trailer.x.command",
                            "interactive.diffFilter",
                            "pager.status"})
      git(dir.path, {"config", "-f", (git_directory / "config").string(), key,
                     std::string(key) == "core.hooksPath" ? outside.path.string() : program.string()});
    for (const char* hook :
         {"post-index-change", "fsmonitor-watchman", "pre-commit", "post-checkout", "reference-transaction"}) {
      fs::copy_file(program, git_directory / "hooks" / hook, fs::copy_options::overwrite_existing);
      fs::copy_file(program, outside.path / hook, fs::copy_options::overwrite_existing);
    }
  };
  poison(repository / ".git");
  poison(repository / ".git/modules/sub");
  write(dir.path / "more", "[core]\n\tfsmonitor = " + program.string() + "\n");
  git(repository, {"config", "-f", ".git/config", "includeIf.gitdir:" + dir.path.string() + "/.path", "../../more"});
  write(repository / "a", "2\n");
  write(repository / "sub/a", "2\n");
  fs::last_write_time(repository / "d/b", fs::file_time_type::clock::now() + std::chrono::hours(1));
  const auto before = image_of(dir.path);
  std::vector<std::string> notes;
  const auto source = source_of(repository, notes);
  REQUIRE(source);
  CHECK(source->state.dirty);
  CHECK(source_of(repository / "sub", notes));
  CHECK_FALSE(fs::exists(proof));
  CHECK(image_of(dir.path) == before);
  // The trap is a trap: git falls into it.
  run_git(repository, {"status"});
  CHECK(fs::exists(proof));
}

TEST_CASE("nothing is written in a repository, not even its index refreshed") {
  const TempDir dir;
  make_one_commit(dir.path);
  fs::last_write_time(dir.path / "a", fs::file_time_type::clock::now() + std::chrono::hours(1));
  write(dir.path / "d/b", "2\n");
  write(dir.path / "new", "");
  const auto before = image_of(dir.path);
  CHECK(state_of(dir.path)->dirty);
  CHECK(image_of(dir.path) == before);
}

TEST_CASE("a FIFO in place of any file of a repository holds nobody up") {
  const std::string file = GENERATE(
      as<std::string>{}, ".git", ".git/HEAD", ".git/config", ".git/index", ".git/packed-refs", ".git/refs/heads/main",
      ".git/commondir", ".git/info/attributes", ".git/info/exclude", ".git/objects/info/alternates",
      ".git/objects/info/commit-graph", ".git/objects/pack/pack-0000000000000000000000000000000000000000.idx",
      ".git/objects/pack/multi-pack-index", ".git/shallow", "included", ".gitattributes", "d/.gitattributes",
      ".gitmodules", ".gitignore", "d/.gitignore", "commit", "tree", "a", ".git/config.worktree");
  INFO(file);
  const TempDir dir;
  make_one_commit(dir.path);
  write(dir.path / ".git/info/exclude", "");
  git(dir.path, {"config", "include.path", "../included"});
  git(dir.path, {"config", "extensions.worktreeConfig", "true"});
  write(dir.path / "d/b", "2\n");
  std::string name = file;
  for (const char* object : {"commit", "tree"})
    if (file == object) {
      const std::string id = git(dir.path, {"rev-parse", std::string("HEAD^{") + object + "}"});
      name = ".git/objects/" + id.substr(0, 2) + "/" + id.substr(2);
    }
  make_fifo(dir.path / name);
  std::vector<std::string> notes;
  const auto source = source_of(dir.path, notes);
  for (const std::string& note : notes) UNSCOPED_INFO(note);
  const bool in_the_work_tree = file == "a" || file.ends_with(".gitignore") || file == ".gitmodules";
  if (file == ".git") {
    CHECK_FALSE(source);  // no repository, as git says
  } else if (in_the_work_tree) {
    REQUIRE(source);
    CHECK(source->state.dirty);
  } else {
    CHECK_FALSE(source);
    REQUIRE(notes.size() == 1);
    CHECK(notes[0].ends_with(" is a FIFO"));
  }
  // The snapshot reads the same files.
  CHECK_NOTHROW(runner::snapshot::list_files({.source = dir.path, .data_directory = {}, .stat_cache = {}}));
}

TEST_CASE("a device is not read to its end") {
  const TempDir dir;
  make_one_commit(dir.path);
  SECTION("included") { git(dir.path, {"config", "include.path", "/dev/zero"}); }
  SECTION("included on a section's own line") {
    write(dir.path / ".git/config", "[core]\n\tbare = false\n[InClude] PATH = \\\n \"/dev/zero\" ; comment\n");
  }
  SECTION("attributes") { git(dir.path, {"config", "core.attributesFile", "/dev/zero"}); }
  SECTION("linked to") {
    fs::remove(dir.path / ".git/HEAD");
    fs::create_symlink("/dev/zero", dir.path / ".git/HEAD");
  }
  SECTION("the kernel's") { git(dir.path, {"config", "include.path", "/proc/kmsg"}); }
  std::vector<std::string> notes;
  CHECK_FALSE(source_of(dir.path, notes));
  REQUIRE(notes.size() == 1);
  INFO(notes[0]);
  CHECK((notes[0].ends_with("is a device") || notes[0].ends_with("is no file of a disk")));
}

TEST_CASE("a repository that points elsewhere") {
  const TempDir dir;
  const TempDir other;
  const fs::path repository = dir.path / "r";
  make_one_commit(repository);
  make_one_commit(other.path);
  const fs::path dot_git = repository / ".git";
  const auto redirect = [&](const std::string& target) {
    fs::remove_all(dot_git);
    write(dot_git, "gitdir: " + target + "\n");
  };
  bool readable = false;
  SECTION("to another's git directory") {
    redirect((other.path / ".git").string());
    readable = true;
  }
  SECTION("to nothing") { redirect("/nonexistent"); }
  SECTION("to a FIFO") {
    redirect("../fifo");
    make_fifo(dir.path / "fifo");
  }
  SECTION("to a file") { redirect("/etc/passwd"); }
  SECTION("to a device") { redirect("/dev/zero"); }
  SECTION("to the system") { redirect("/etc"); }
  SECTION("to itself") { redirect(".git"); }
  SECTION("to what is no text") { redirect(std::string("a\0b", 3)); }
  SECTION("a link to another's git directory") {
    fs::remove_all(dot_git);
    fs::create_symlink(other.path / ".git", dot_git);
    readable = true;
  }
  SECTION("a link to itself") {
    fs::remove_all(dot_git);
    fs::create_symlink(".git", dot_git);
  }
  SECTION("core.worktree") { git(repository, {"config", "core.worktree", other.path.string()}); }
  SECTION("core.worktree to the system") {
    git(repository, {"config", "core.worktree", "/"});
    readable = true;
  }
  SECTION("commondir") {
    write(dot_git / "commondir", (other.path / ".git").string() + "\n");
    readable = true;
  }
  SECTION("alternates") {
    write(dot_git / "objects/info/alternates", (other.path / ".git/objects").string() + "\n");
    write(other.path / ".git/objects/info/alternates", (dot_git / "objects").string() + "\n");  // a loop
    readable = true;
  }
  SECTION("a branch outside") { write(dot_git / "HEAD", "ref: refs/heads/../../../../other/.git/refs/heads/main\n"); }
  SECTION("references in a circle") {
    write(dot_git / "refs/heads/main", "ref: refs/heads/other\n");
    write(dot_git / "refs/heads/other", "ref: refs/heads/main\n");
  }
  SECTION("an include in a circle") { git(repository, {"config", "include.path", "config"}); }
  SECTION("a submodule that is the repository itself") {
    git(repository,
        {"update-index", "--add", "--cacheinfo", "160000," + git(repository, {"rev-parse", "HEAD"}) + ",sub"});
    write(repository / "sub/.git", "gitdir: ../.git\n");
    readable = true;
  }
  const auto before = image_of(dir.path);
  const auto before_other = image_of(other.path);
  std::vector<std::string> notes;
  const auto source = source_of(repository, notes);
  for (const std::string& note : notes) UNSCOPED_INFO(note);
  CHECK(source.has_value() == readable);
  CHECK(image_of(dir.path) == before);
  CHECK(image_of(other.path) == before_other);
}

TEST_CASE("a damaged repository is a note") {
  const TempDir dir;
  make_one_commit(dir.path);
  const auto object = [&](const char* what) {
    const std::string id = git(dir.path, {"rev-parse", std::string("HEAD") + what});
    return dir.path / ".git/objects" / id.substr(0, 2) / id.substr(2);
  };
  const auto spoil = [](const fs::path& file) {
    fs::permissions(file, fs::perms::owner_all);
    write(file, "spoilt");
  };
  write(dir.path / "a", "2\n");
  SECTION("no HEAD") { fs::remove(dir.path / ".git/HEAD"); }
  SECTION("HEAD spoilt") { write(dir.path / ".git/HEAD", "spoilt\n"); }
  SECTION("the commit spoilt") { spoil(object("")); }
  SECTION("the commit missing") { fs::remove(object("")); }
  SECTION("the tree spoilt") { spoil(object("^{tree}")); }
  SECTION("the tree missing") { fs::remove(object("^{tree}")); }
  SECTION("a changed file's content spoilt") { spoil(object(":a")); }
  SECTION("the index cut off") { fs::resize_file(dir.path / ".git/index", 100); }
  std::vector<std::string> notes;
  CHECK_FALSE(source_of(dir.path, notes));
  CHECK(notes.size() == (fs::exists(dir.path / ".git/HEAD") ? 1 : 0));  // without a HEAD git sees no repository at all
}

TEST_CASE("an index that lies") {
  const TempDir dir;
  make_one_commit(dir.path);
  std::ifstream stream(dir.path / ".git/index", std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  CHECK(runner::os::GitIndex::parse(good).entries().size() == 2);
  std::string bad = good;
  SECTION("of its number of entries") { bad[8] = '\x7f'; }
  SECTION("of a path that leads out") { bad.replace(bad.find("d/b"), 3, "../"); }
  SECTION("of a path in .git") {
    write(dir.path / "xgit/b", "");
    git(dir.path, {"add", "xgit/b"});
    std::ifstream again(dir.path / ".git/index", std::ios::binary);
    bad.assign((std::istreambuf_iterator<char>(again)), std::istreambuf_iterator<char>());
    bad[bad.find("xgit/b")] = '.';
  }
  SECTION("of its order") { bad[bad.find("d/b")] = 'A'; }
  SECTION("of its extensions") { bad.replace(bad.find("TREE") + 4, 4, "\xff\xff\xff\xff"); }
  SECTION("of its version") { bad[7] = '\x09'; }
  write(dir.path / ".git/index", bad);
  std::vector<std::string> notes;
  CHECK_FALSE(source_of(dir.path, notes));
  REQUIRE(notes.size() == 1);
  INFO(notes[0]);
  CHECK(notes[0].starts_with("git: the repository cannot be read: the index "));
}

TEST_CASE("an index cut off or spoilt anywhere is refused or read, never more") {
  const TempDir dir;
  make_one_commit(dir.path);
  git(dir.path, {"update-index", "--index-version", "4"});
  for (const char* version : {"4", "2"}) {
    git(dir.path, {"update-index", "--index-version", version});
    std::ifstream stream(dir.path / ".git/index", std::ios::binary);
    const std::string good((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
    std::size_t refused = 0;
    for (std::size_t at = 0; at < good.size(); ++at) {
      for (const int value : {0, 1, 0x2f, 0x7f, 0x80, 0xff}) {
        std::string bad = good;
        bad[at] = static_cast<char>(value);
        try {
          runner::os::GitIndex::parse(bad).below("d/");
        } catch (const runner::Error&) {
          ++refused;
        }
      }
      try {
        runner::os::GitIndex::parse(good.substr(0, at));
      } catch (const runner::Error&) {
        ++refused;
      }
    }
    CHECK(refused > good.size() / 2);
  }
}

TEST_CASE("a tree that describes thousands of millions of files ends early") {
  const TempDir dir;
  make_repository(dir.path);
  std::string content = "100644 blob " + git(dir.path, {"hash-object", "-w", "--stdin"}) + "\tf\n";
  std::string id;
  write(dir.path / "list", content);
  const auto make_tree = [&] {
    const auto made = run_git(dir.path, {"-c", "alias.mk=!git mktree < list", "mk"});
    REQUIRE(made.exit_code == 0);
    return made.out.substr(0, 40);
  };
  id = make_tree();
  for (int level = 0; level < 12; ++level) {
    std::string list;
    for (char name = 'a'; name <= 'j'; ++name) list += "040000 tree " + id + "\t" + name + "\n";
    write(dir.path / "list", list);
    id = make_tree();
  }
  git(dir.path, {"update-ref", "refs/heads/main", git(dir.path, {"commit-tree", "-m", "bomb", id})});
  std::vector<std::string> notes;
  CHECK_FALSE(source_of(dir.path, notes));
  REQUIRE(notes.size() == 1);
  CHECK(notes[0].find("more than") != std::string::npos);
}
