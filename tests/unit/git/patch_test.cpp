// The stored patch, applied by the real git to a clean checkout of the commit, is the work tree's tracked files.
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <random>

#include "tests/unit/git/git_repository.hpp"

using namespace runner::git::test;  // NOLINT(google-build-using-namespace): its helpers are this file's words

namespace {

// Path, mode and target or content of every tracked file, submodules and what is not in the work tree left out.
std::string tracked_files(const fs::path& repository) {
  std::string text;
  std::string listed = git(repository, {"ls-files", "-z", "--deduplicate"});
  for (std::size_t begin = 0, end = 0; (end = listed.find('\0', begin)) != std::string::npos; begin = end + 1) {
    const std::string path = listed.substr(begin, end - begin);
    struct ::stat info {};
    if (::lstat((repository / path).c_str(), &info) != 0 || S_ISDIR(info.st_mode)) continue;
    if (S_ISLNK(info.st_mode)) {
      text += path + " -> " + fs::read_symlink(repository / path).string() + "\n";
      continue;
    }
    std::ifstream stream(repository / path, std::ios::binary);
    text += path + ((info.st_mode & 0100) != 0 ? " x " : " - ") +
            std::string(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()) + "\n";
  }
  return text;
}

// Checks out the commit elsewhere, applies the patch there and compares.
void check_patch(const fs::path& repository) {
  check_against_git(repository);
  const auto source = source_of(repository);
  REQUIRE(source);
  INFO("patch:\n" << source->patch);
  INFO("status:\n" << git(repository, {"status", "--porcelain"}));
  const TempDir other;
  const fs::path clean = other.path / "clean";
  git(repository, {"clone", "-q", "-n", "--no-hardlinks", ".", clean.string()});
  const auto settings = run_git(repository, {"config", "--local", "--get-regexp", "^core\\.(autocrlf|eol)$"});
  if (const std::size_t blank = settings.out.find(' '); blank != std::string::npos)
    git(clean,
        {"config", settings.out.substr(0, blank), settings.out.substr(blank + 1, settings.out.find('\n') - blank - 1)});
  if (source->state.commit) git(clean, {"checkout", "-q", "--detach", *source->state.commit});
  if (!source->patch.empty()) {
    write(other.path / "patch", source->patch);
    git(clean, {"apply", "--binary", "--index", "--whitespace=nowarn", (other.path / "patch").string()});
  }
  CHECK(tracked_files(clean) == tracked_files(repository));
}

void make_executable(const fs::path& file) { fs::permissions(file, fs::perms::owner_exec, fs::perm_options::add); }

}  // namespace

TEST_CASE("the patch makes the work tree's tracked files of the commit") {
  const TempDir dir;
  make_repository(dir.path);
  write(dir.path / "text", "one\ntwo\nthree\n");
  write(dir.path / "open end", "one\ntwo");
  write(dir.path / "crlf", "one\r\ntwo\r\n");
  write(dir.path / "empty", "");
  write(dir.path / "binary", std::string("\0\1\2\3", 4) + std::string(3000, 'x') + std::string("\0", 1));
  write(dir.path / "deep/er/file", "deep\n");
  write(dir.path / "d\xc3\xa9j\xc3\xa0 vu", "x\n");
  write(dir.path / "latin-\xe9", "x\n");
  write(dir.path / "tab\tnew\nline\"quote\\", "x\n");
  fs::create_symlink("text", dir.path / "link");
  commit_all(dir.path);
  SECTION("nothing") { CHECK(source_of(dir.path)->patch.empty()); }
  SECTION("a text is edited") { write(dir.path / "text", "one\n2\nthree\nfour\n"); }
  SECTION("staged and edited again") {
    write(dir.path / "text", "staged\n");
    git(dir.path, {"add", "text"});
    write(dir.path / "text", "and edited\n");
  }
  SECTION("staged and changed back") {
    write(dir.path / "text", "staged\n");
    git(dir.path, {"add", "text"});
    write(dir.path / "text", "one\ntwo\nthree\n");
    CHECK(source_of(dir.path)->patch.empty());
    CHECK(source_of(dir.path)->state.dirty);
  }
  SECTION("a last line without its end") { write(dir.path / "open end", "one\n2"); }
  SECTION("a last line gets its end") { write(dir.path / "open end", "one\ntwo\n"); }
  SECTION("carriage returns") { write(dir.path / "crlf", "one\r\n2\r\nthree\n"); }
  SECTION("a binary file") {
    write(dir.path / "binary", std::string("\0\1\2\4", 4) + std::string(3000, 'y') + std::string("\0", 1));
  }
  SECTION("a binary file becomes a text") { write(dir.path / "binary", "text\n"); }
  SECTION("a text becomes binary") { write(dir.path / "text", std::string("a\0b", 3)); }
  SECTION("a file is emptied") { write(dir.path / "text", ""); }
  SECTION("an empty file is filled") { write(dir.path / "empty", "x"); }
  SECTION("files are removed") {
    fs::remove(dir.path / "text");
    fs::remove(dir.path / "empty");
    fs::remove(dir.path / "binary");
    fs::remove(dir.path / "tab\tnew\nline\"quote\\");
  }
  SECTION("new files are staged") {
    write(dir.path / "new", "x\n");
    write(dir.path / "new empty", "");
    write(dir.path / "other/new binary", std::string("\0\1", 2));
    write(dir.path / "new \xe9\t", "x");
    git(dir.path, {"add", "-A"});
  }
  SECTION("a new file is only announced") {
    write(dir.path / "announced", "x\n");
    git(dir.path, {"add", "-N", "announced"});
  }
  SECTION("a new file is staged and gone") {
    write(dir.path / "new", "x\n");
    git(dir.path, {"add", "new"});
    fs::remove(dir.path / "new");
  }
  SECTION("modes") {
    make_executable(dir.path / "text");
    make_executable(dir.path / "empty");
    write(dir.path / "crlf", "both\n");
    make_executable(dir.path / "crlf");
  }
  SECTION("a link") {
    fs::remove(dir.path / "link");
    fs::create_symlink("elsewhere", dir.path / "link");
  }
  SECTION("a link becomes a file, a file a link") {
    fs::remove(dir.path / "link");
    write(dir.path / "link", "text");
    fs::remove(dir.path / "text");
    fs::create_symlink("one\ntwo\nthree\n", dir.path / "text");
  }
  SECTION("a directory becomes a link") {
    fs::rename(dir.path / "deep", dir.path / "elsewhere");
    fs::create_symlink("elsewhere", dir.path / "deep");
    git(dir.path, {"add", "-A"});
  }
  SECTION("renamed, and edited too") {
    git(dir.path, {"mv", "text", "moved"});
    git(dir.path, {"mv", "deep", "sunk"});
    git(dir.path, {"mv", "binary",
                   "d\xc3\xa9"
                   "binary"});
    write(dir.path / "sunk/er/file", "deeper\n");
    make_executable(dir.path / "moved");
  }
  SECTION("swapped names") {
    git(dir.path, {"mv", "text", "t"});
    git(dir.path, {"mv", "crlf", "text"});
    git(dir.path, {"mv", "t", "crlf"});
  }
  SECTION("awkward names") {
    write(dir.path / "d\xc3\xa9j\xc3\xa0 vu", "y\n");
    write(dir.path / "latin-\xe9", "y\n");
    write(dir.path / "tab\tnew\nline\"quote\\", "y\n");
  }
  SECTION("a file becomes a directory") {
    fs::remove(dir.path / "text");
    write(dir.path / "text/inside", "x\n");
    git(dir.path, {"add", "-A"});
  }
  SECTION("no longer tracked") { git(dir.path, {"rm", "-q", "--cached", "text"}); }
  SECTION("on an unborn branch") {
    git(dir.path, {"checkout", "-q", "--orphan", "fresh"});
    write(dir.path / "text", "fresh\n");
    CHECK_FALSE(source_of(dir.path)->state.commit);
  }
  check_patch(dir.path);
}

TEST_CASE("the patch of a conflict has the files as they stand there, markers and all") {
  const TempDir dir;
  make_repository(dir.path);
  write(dir.path / "both", "1\n");
  write(dir.path / "removed by one", "1\n");
  commit_all(dir.path);
  git(dir.path, {"checkout", "-q", "-b", "other"});
  write(dir.path / "both", "2\n");
  write(dir.path / "removed by one", "2\n");
  write(dir.path / "added by both", "2\n");
  write(dir.path / "new", "2\n");
  commit_all(dir.path);
  git(dir.path, {"checkout", "-q", "main"});
  write(dir.path / "both", "3\n");
  fs::remove(dir.path / "removed by one");
  write(dir.path / "added by both", "3\n");
  commit_all(dir.path);
  CHECK(run_git(dir.path, {"merge", "other"}).exit_code != 0);
  check_patch(dir.path);
  CHECK(source_of(dir.path)->patch.find("# runner: both is in conflict\n") != std::string::npos);
}

TEST_CASE("the patch of a subdirectory has what changed there, with the repository's paths") {
  const TempDir dir;
  make_repository(dir.path);
  write(dir.path / "in/a", "1\n");
  write(dir.path / "in.txt", "1\n");
  write(dir.path / "out/a", "1\n");
  commit_all(dir.path);
  for (const char* path : {"in/a", "in.txt", "out/a"}) write(dir.path / path, "2\n");
  write(dir.path / "in/new", "");
  write(dir.path / "out/new", "");
  const auto source = source_of(dir.path / "in");
  REQUIRE(source);
  CHECK(source->patch == git(dir.path, {"diff", "--full-index", "--binary", "HEAD", "--", "in"}) + "\n");
  CHECK(source->untracked == "new\n");
}

TEST_CASE("lines are converted as git converts them") {
  const TempDir dir;
  make_repository(dir.path);
  write(dir.path / "a", "one\ntwo\n");
  write(dir.path / "id", "$Id$\n");
  write(dir.path / "raw.bin", "one\r\ntwo\r\n");
  SECTION("core.autocrlf") { git(dir.path, {"config", "core.autocrlf", "true"}); }
  SECTION("core.autocrlf=input") { git(dir.path, {"config", "core.autocrlf", "input"}); }
  SECTION("attributes") { write(dir.path / ".gitattributes", "* text=auto eol=crlf\n*.bin -text\nid ident\n"); }
  SECTION("core.eol") {
    git(dir.path, {"config", "core.eol", "crlf"});
    write(dir.path / ".gitattributes", "a text\n");
  }
  commit_all(dir.path);
  for (const char* path : {"a", "id", "raw.bin", ".gitattributes"}) fs::remove(dir.path / path);
  git(dir.path, {"checkout", "-q", "--", "."});
  check_patch(dir.path);
  SECTION("touched") {
    fs::last_write_time(dir.path / "a", fs::file_time_type::clock::now() + std::chrono::hours(1));
    check_patch(dir.path);
  }
  SECTION("edited") {
    write(dir.path / "a", "one\r\n2\r\n");
    check_patch(dir.path);
  }
  SECTION("mixed") {
    write(dir.path / "a", "one\r\n2\nthree\r\n");
    CHECK(source_of(dir.path)->state.dirty);
  }
}

TEST_CASE("a patch has at most its limit, and says what is not in it") {
  const TempDir dir;
  make_repository(dir.path);
  for (const char* path : {"a", "big", "c"}) write(dir.path / path, "1\n");
  commit_all(dir.path);
  write(dir.path / "a", "2\n");
  write(dir.path / "big", std::string(100'000, 'x') + "\n");
  write(dir.path / "c", "2\n");
  std::vector<std::string> notes;
  const auto limited = source_of(dir.path, notes, 10'000);
  REQUIRE(limited);
  REQUIRE(notes.size() == 1);
  INFO(notes[0]);
  CHECK(notes[0].find("git/diff.patch leaves out big (97.8 KiB of changes") != std::string::npos);
  CHECK(limited->patch.size() <= 10'000);
  CHECK(limited->patch.find("\n# runner: left out: big: 97.8 KiB of changes") != std::string::npos);
  CHECK(limited->patch.find("diff --git a/c b/c\n") != std::string::npos);
  // What is there is applicable.
  write(dir.path / "patch", limited->patch);
  git(dir.path, {"stash", "-q"});
  git(dir.path, {"apply", (dir.path / "patch").string()});
  CHECK(git(dir.path, {"diff", "--name-only"}) == "a\nc");

  SECTION("a file too large to be compared at all is not read") {
    fs::resize_file(dir.path / "big", std::uintmax_t{1} << 40);
    notes.clear();
    const auto huge = source_of(dir.path, notes);
    REQUIRE(notes.size() == 1);
    CHECK(notes[0] ==
          "git: git/diff.patch leaves out big (1048576.0 MiB, a file in the patch has at most 16.0 MiB); the snapshot "
          "has it");
  }
}

TEST_CASE("untracked files beyond the limit are counted") {
  const TempDir dir;
  make_repository(dir.path);
  for (int i = 0; i < 10; ++i) write(dir.path / ("f" + std::to_string(i)), "");
  std::vector<std::string> notes;
  const auto source = runner::git::read_source(
      dir.path, notes, {.has = {}, .list = [](const fs::path&) {
                          return runner::git::UntrackedFiles{.paths = {"a\nb", "f0"}, .more = 8};
                        }});
  REQUIRE(source);
  CHECK(source->untracked == "\"a\\nb\"\nf0\n\nand 8 more\n");
  CHECK(notes == std::vector<std::string>{"git: 10 untracked files; git/untracked.txt lists the first 2"});
  CHECK(source->state.dirty);
}

TEST_CASE("random edits are in the patch at every step") {
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const TempDir dir;
  make_repository(dir.path);
  const std::vector<std::string> paths{"a", "b c", "d/e", "d/f\xc3\xa9", "g\n", "h/i/j"};
  const auto content = [&]() -> std::string {
    switch (random() % 5) {
      case 0:
        return "";
      case 1:
        return std::string("\0\xff", 2) + std::string(random() % 2000, 'z');
      case 2:
        return "no end " + std::to_string(random() % 4);
      case 3:
        return "crlf\r\nlines\r\n" + std::to_string(random() % 4) + "\n";
      default: {
        std::string lines;
        for (int i = 0; i < 30; ++i) lines += "line " + std::to_string(random() % 40 == 0 ? random() % 9 : i) + "\n";
        return lines;
      }
    }
  };
  for (int step = 0; step < 60; ++step) {
    const fs::path path = dir.path / paths[random() % paths.size()];
    const std::string name = path.lexically_relative(dir.path).string();
    std::error_code ignored;
    switch (random() % 9) {
      case 0:
      case 1:
      case 2:
        fs::remove(path, ignored);
        write(path, content());
        break;
      case 3:
        fs::remove(path, ignored);
        fs::create_directories(path.parent_path());
        fs::create_symlink("to " + std::to_string(random() % 3), path);
        break;
      case 4:
        fs::remove(path, ignored);
        break;
      case 5:
        if (fs::is_regular_file(fs::symlink_status(path))) make_executable(path);
        break;
      case 6:
        run_git(dir.path, {"add", "-A"});
        break;
      case 7:
        run_git(dir.path, {"mv", "-f", name, paths[random() % paths.size()]});
        break;
      case 8:
        run_git(dir.path, {"commit", "-q", "-a", "-m", "x"});
        break;
    }
    INFO("step " << step);
    check_patch(dir.path);
  }
}
