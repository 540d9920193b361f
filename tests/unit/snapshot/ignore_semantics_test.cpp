// Each rule of gitignore(5) by name, as .gitignore and as .amlignore, with what is expected and with git's own answer.
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>

#include "support.hpp"

namespace fs = std::filesystem;
using namespace std::string_literals;
using namespace runner::test;
using namespace runner::snapshot;

namespace {

using Names = std::vector<std::string>;

Names ours(const fs::path& source) { return list_files({.source = source, .data_directory = {}, .stat_cache = {}}); }

Names of_git(const fs::path& source, bool amlignore) {
  Names names = split_nul(
      git(source, {"ls-files", "-z", "-co", amlignore ? "--exclude-per-directory=.amlignore" : "--exclude-standard"}));
  std::erase_if(names, [&](const std::string& name) { return !fs::exists(fs::symlink_status(source / name)); });
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

struct Case {
  const char* what;
  std::string rules;
  Names in;
  Names out;
};

const std::vector<Case> kCases{
    {"a name at any depth", "x\n", {"d/y"}, {"x", "d/x", "d/e/x", "x2/x"}},
    {"a slash inside anchors", "d/x\n", {"e/d/x", "x"}, {"d/x"}},
    {"a leading slash anchors", "/x\n", {"d/x"}, {"x"}},
    {"a final slash does not anchor", "b/\n", {"c/x"}, {"b/x", "c/b/y"}},
    {"a later rule wins", "*.a\n!k.a\nk.a\n!d/k.a\n", {"d/k.a"}, {"k.a", "z.a"}},
    {"an excluded directory cannot be entered again", "d/\n!d/k\n", {"k"}, {"d/k", "d/l"}},
    {"but its contents one by one can", "d/*\n!d/k\n", {"d/k"}, {"d/l", "d/e/k"}},
    {"everything but one sort", "*\n!*/\n!*.py\n!.*ignore\n", {"a.py", "d/b.py", "d/e/c.py"}, {"a", "d/b"}},
    {"leading two stars", "**/x\n", {"d/xx"}, {"x", "d/x", "d/e/x"}},
    {"final two stars", "d/**\n", {"e/d/x", "f"}, {"d/x", "d/e/y"}},
    {"inner two stars", "a/**/z\n", {"b/a/z", "a/zz"}, {"a/z", "a/b/z", "a/b/c/z"}},
    {"two stars within a component are one", "a**z/x\n", {"a/z/x"}, {"az/x", "abz/x"}},
    {"two stars alone", "**\n!k\n!.*ignore\n", {"k"}, {"x", "d/x", "d/k"}},
    {"a star stays in its component", "a/*/z\n", {"a/b/c/z", "a/z"}, {"a/b/z"}},
    {"a question mark is one byte, not one letter", "?\n??x\n", {"\xc3\xbc", "ab"}, {"a", "\xc3\xbcx"}},
    {"classes and ranges",
     "[a-c]1\n[xyz]2\n[!a-c]3\n[^q]4\n",
     {"d1", "w2", "b3", "q4"},
     {"a1", "c1", "y2", "d3", "a4"}},
    {"POSIX classes", "[[:digit:]]\n[[:upper:]]x\n[![:alnum:]]y\n", {"a", "ax", "by"}, {"7", "Ax", "-y", "\xffy"}},
    {"brackets and dashes as members", "[]]\n[]-]a\n[a-]b\n[\\]]c\n", {"[", "xa"}, {"]", "]a", "-a", "ab", "-b", "]c"}},
    {"what is not a class matches nothing", "[a\n[[:foo:]]\nz[\n", {"[a", "a", "f", "z["}, {}},
    {"a class does not take the slash", "a[/]b\na[!x]b\n", {"a/b", "axb"}, {"ayb"}},
    {"escapes", "\\#a\n\\!b\n\\*\nc\\?\n\\d\n", {"a", "b", "x", "cx"}, {"#a", "!b", "*", "c?", "d"}},
    {"a lone final backslash matches nothing", "a\\\n", {"a", "a\\"}, {}},
    {"comments, blank lines and blanks before", "#a\n\n  \n b\n", {"a", "b", "#a"}, {" b"}},
    {"trailing blanks go unless escaped", "a  \nb\\ \nc\\  \n", {"a ", "b", "c"}, {"a", "b ", "c "}},
    {"trailing tabs stay", "a\t\nb \t\n", {"a", "b"}, {"a\t", "b \t"}},
    {"CRLF", "a\r\nd/\r\n!k\r\n", {"k", "a\r"}, {"a", "d/x"}},
    {"a carriage return alone", "a\rb\nc\r\r\n", {"c"}, {"a\rb", "c\r"}},
    {"a byte order mark",
     "\xef\xbb\xbf"
     "a\n\xef\xbb\xbf"
     "b\n",
     {"b",
      "\xef\xbb\xbf"
      "a"},
     {"a",
      "\xef\xbb\xbf"
      "b"}},
    {"a byte order mark and nothing else", "\xef\xbb\xbf", {"a"}, {}},
    {"no newline at the end", "a\nb", {"c"}, {"a", "b"}},
    {"no newline after an escaped blank", "b\\ ", {"b"}, {"b "}},
    {"an empty file", "", {"a"}, {}},
    {"a zero byte ends a line", "a\0b\nc\n"s, {"ab"}, {"a", "c"}},
    {"names that are not UTF-8", "\xff*\n[\xe0-\xef]\n\xc3?\n", {"\xdf"}, {"\xff\xfe", "\xe9", "\xc3\xbc"}},
    {"names with newlines", "a?b\n[[:space:]]c\n", {"a\n\nb"}, {"a\nb", "\nc"}},
    {"names with backslashes, brackets and blanks", "a\\\\b\n\\[x]\n\\ y\n", {"ab", "x", "y"}, {"a\\b", "[x]", " y"}},
    {"a negated rule of a directory below", "*.log\n!/d/k.log\n", {"d/k.log"}, {"a.log", "d/e/k.log"}},
    {"names of 255 bytes", std::string(200, 'n') + "*\n", {std::string(255, 'm')}, {std::string(255, 'n')}},
    {"a rule of 100 000 bytes", std::string(100'000, 'r') + "\nx\n", {"r"}, {"x"}},
};

}  // namespace

TEST_CASE("each rule means what git means by it") {
  const bool amlignore = GENERATE(false, true);
  const std::string name = amlignore ? ".amlignore" : ".gitignore";
  for (const Case& example : kCases) {
    const TempDir dir;
    make_repository(dir.path());
    write_file(dir.path() / name, example.rules);
    for (const Names& paths : {example.in, example.out})
      for (const std::string& path : paths) write_file(dir.path() / path, "");
    Names expected = example.in;
    expected.push_back(name);
    std::sort(expected.begin(), expected.end());
    INFO(name << ": " << example.what);
    CHECK(ours(dir.path()) == expected);
    CHECK(of_git(dir.path(), amlignore) == expected);
    const Names explained = [&] {
      Names in{name};
      for (const Names& paths : {example.in, example.out})
        for (const std::string& path : paths)
          if (explain({.source = dir.path(), .data_directory = {}, .stat_cache = {}}, path).included)
            in.push_back(path);
      std::sort(in.begin(), in.end());
      return in;
    }();
    CHECK(explained == expected);
  }
}

TEST_CASE("every class means what git means by it, byte by byte") {
  const bool ignore_case = GENERATE(false, true);
  const TempDir dir;
  make_repository(dir.path(), ignore_case ? "\tignorecase = true\n" : "");
  for (int byte = 1; byte < 256; ++byte)
    if (byte != '.' && byte != '/') write_file(dir.path() / ("n" + std::string(1, static_cast<char>(byte))), "");
  std::vector<std::string> classes{"[a-c]",         "[A-C]",           "[!a-c]",    "[^A-C]", "[Z-a]", "[!-/]",
                                   "[\\x80-\xff]",  "[\x01-\x1f]",     "[]-a]",     "[--0]",  "[a-]",  "[[-\\]]",
                                   "[[:alpha:]-z]", "[![:alpha:]0-4]", "[[:alpha]", "[[:]",   "?",     "\\A"};
  for (const char* name : {"alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
                           "upper", "xdigit", "word", "ascii", "ALPHA", ""}) {
    classes.push_back("[[:" + std::string(name) + ":]]");
    classes.push_back("[^[:" + std::string(name) + ":]]");
  }
  for (const std::string& members : classes)
    for (const char* start : {"n", "/n"}) {  // matched against the name, and against the path
      write_file(dir.path() / ".gitignore", start + members + "\n");
      INFO(start << members << (ignore_case ? " with core.ignorecase" : ""));
      CHECK(ours(dir.path()) == of_git(dir.path(), false));
    }
}

TEST_CASE("a rule for directories does not match a link to one") {
  const TempDir dir;
  make_repository(dir.path());
  write_file(dir.path() / ".gitignore", "d/\nlink/\nboth\n");
  write_file(dir.path() / "d/x", "");
  fs::create_symlink("d", dir.path() / "link");
  fs::create_symlink("d", dir.path() / "both");
  CHECK(ours(dir.path()) == Names{".gitignore", "link"});
  CHECK(of_git(dir.path(), false) == Names{".gitignore", "link"});
}

TEST_CASE("an inner ignore file goes before an outer one, both before info/exclude and that before core.excludesFile") {
  const TempDir dir;
  const fs::path root = dir.path() / "r";
  make_repository(root, "\texcludesFile = " + (dir.path() / "global").string() + "\n");
  write_file(dir.path() / "global", "*.g\n*.x\n*.o\n*.i\n");
  write_file(root / ".git/info/exclude", "!a.g\n*.x\n*.o\n*.i\n");
  write_file(root / ".gitignore", "!a.x\n*.i\n");
  write_file(root / "d/.gitignore", "!a.i\n");
  for (const char* path : {"a.g", "b.g", "a.x", "b.x", "d/a.x", "a.o", "a.i", "d/a.i", "d/b.i"})
    write_file(root / path, "");
  const Names expected{".gitignore", "a.g", "a.x", "d/.gitignore", "d/a.i", "d/a.x"};
  CHECK(ours(root) == expected);
  CHECK(of_git(root, false) == expected);
}

TEST_CASE("parents' rules count for a source directory below the root of the work tree") {
  const TempDir dir;
  make_repository(dir.path());
  write_file(dir.path() / ".gitignore", "*.log\n/p/q/anchored\n/anchored\nout/\n");
  write_file(dir.path() / "p/.gitignore", "!keep.log\nq/inner\n");
  for (const char* path : {"a.log", "keep.log", "anchored", "inner", "x", "e/anchored"})
    write_file(dir.path() / "p/q" / path, "");
  write_file(dir.path() / "out/y", "");
  write_file(dir.path() / "out/tracked", "");
  git(dir.path(), {"add", "-f", "out/tracked"});
  for (const auto& [source, expected] :
       {std::pair{"p/q", Names{"e/anchored", "keep.log", "x"}}, std::pair{"out", Names{"tracked"}}}) {
    CHECK(ours(dir.path() / source) == expected);
    CHECK(of_git(dir.path() / source, false) == expected);
  }
}

TEST_CASE("core.ignorecase counts for names, patterns and classes") {
  const TempDir dir;
  make_repository(dir.path(), "\tignorecase = true\n");
  write_file(dir.path() / ".gitignore", "BUILD/\n*.LOG\n[A-C]x\n[[:upper:]]y\n\xc3\x9c\n");
  for (const char* path : {"build/x", "a.log", "bx", "qy", "\xc3\xbc", "dx", "1y"}) write_file(dir.path() / path, "");
  const Names expected{".gitignore", "1y", "dx", "\xc3\xbc"};  // ASCII only
  CHECK(ours(dir.path()) == expected);
  CHECK(of_git(dir.path(), false) == expected);
}

TEST_CASE("core.excludesFile may be relative to the home and is git's default file otherwise") {
  const TempDir dir;
  write_file(test_home() / ".config/git/ignore", "*.default\n");
  write_file(test_home() / "mine", "*.mine\n");
  for (const char* path : {"a.default", "a.mine", "a"}) write_file(dir.path() / path, "");
  make_repository(dir.path());
  CHECK(ours(dir.path()) == Names{"a", "a.mine"});
  CHECK(of_git(dir.path(), false) == Names{"a", "a.mine"});
  make_repository(dir.path(), "\texcludesFile = ~/mine\n");
  CHECK(ours(dir.path()) == Names{"a", "a.default"});
  CHECK(of_git(dir.path(), false) == Names{"a", "a.default"});
  fs::remove_all(test_home() / ".config");
  fs::remove(test_home() / "mine");
}

TEST_CASE("an ignore file that is a link, a directory, a socket or a FIFO says nothing") {
  const bool amlignore = GENERATE(false, true);
  const fs::path name = amlignore ? ".amlignore" : ".gitignore";
  const TempDir dir;
  make_repository(dir.path());
  write_file(dir.path() / "rules", "*\n");
  if (amlignore) write_file(dir.path() / name, "");  // the mode is decided at the root
  for (const char* inner : {"link", "dangling", "directory", "fifo", "socket"})
    write_file(dir.path() / inner / "x", "");
  fs::create_symlink("../rules", dir.path() / "link" / name);
  fs::create_symlink("nowhere", dir.path() / "dangling" / name);
  write_file(dir.path() / "directory" / name / "y", "");
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ::sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (dir.path() / "socket" / name).c_str(), sizeof address.sun_path - 1);
  REQUIRE(::bind(listener, reinterpret_cast<const ::sockaddr*>(&address), sizeof address) == 0);
  const Names in = ours(dir.path());
  CHECK(in.size() == (amlignore ? 10 : 9));
  CHECK(in == of_git(dir.path(), amlignore));
  ::close(listener);
  REQUIRE(::mkfifo((dir.path() / "fifo" / name).c_str(), 0644) == 0);  // git would wait for a writer
  CHECK(ours(dir.path()) == in);
}

TEST_CASE("a directory called .amlignore does not silence the .gitignore files") {
  const TempDir dir;
  write_file(dir.path() / ".amlignore/x", "");
  write_file(dir.path() / ".gitignore", "*.log\n");
  write_file(dir.path() / "a.log", "");
  CHECK(ours(dir.path()) == Names{".amlignore/x", ".gitignore"});
}

TEST_CASE("submodules and nested repositories: their files are in, their .git is not") {
  const TempDir dir;
  make_repository(dir.path());
  const fs::path sub = dir.path() / "sub";
  fs::create_directories(sub);
  git(sub, {"init", "-q"});
  write_file(sub / ".gitignore", "*.o\n");
  write_file(sub / "code.py", "1");
  git(sub, {"add", "."});
  git(sub, {"commit", "-q", "-m", "x"});
  git(dir.path(), {"-c", "advice.addEmbeddedRepo=false", "add", "sub"});
  // As `git submodule` leaves it: .git is a file that points into the outer repository.
  fs::create_directories(dir.path() / ".git/modules");
  fs::rename(sub / ".git", dir.path() / ".git/modules/sub");
  write_file(sub / ".git", "gitdir: ../.git/modules/sub\n");
  git(sub, {"config", "core.worktree", "../../../sub"});
  write_file(sub / "new", "");
  write_file(sub / "a.o", "");
  const fs::path nested = dir.path() / "deep/nested";
  fs::create_directories(nested);
  git(nested, {"init", "-q"});
  write_file(nested / "inner", "");
  const fs::path innermost = nested / "innermost";
  make_repository(innermost);
  write_file(innermost / ".git/info/exclude", "secret\n");
  write_file(innermost / "file", "");
  write_file(innermost / "secret", "");
  const Names expected{"deep/nested/inner", "deep/nested/innermost/file", "sub/.gitignore", "sub/code.py", "sub/new"};
  CHECK(ours(dir.path()) == expected);
  CHECK(of_git(sub, false) == Names{".gitignore", "code.py", "new"});
  CHECK(ours(sub) == Names{".gitignore", "code.py", "new"});
  write_file(dir.path() / ".amlignore", "new\n/sub/code.py\nfile\n");
  CHECK(ours(dir.path()) == Names{".amlignore", "deep/nested/inner", "deep/nested/innermost/secret", "sub/.gitignore",
                                  "sub/a.o", "sub/code.py"});  // tracked in its own repository: in
}

TEST_CASE("a file that stands where a submodule is tracked is tracked") {
  const TempDir dir;
  make_repository(dir.path());
  git(dir.path(), {"update-index", "--add", "--cacheinfo", "160000," + std::string(40, '1') + ",sub"});
  write_file(dir.path() / "sub", "a file now");
  write_file(dir.path() / ".gitignore", "*\n");
  CHECK(ours(dir.path()) == Names{"sub"});
  CHECK(of_git(dir.path(), false) == Names{"sub"});
}

TEST_CASE("what is ignored is never opened") {
  const TempDir dir;
  make_repository(dir.path());
  write_file(dir.path() / ".gitignore", "out/\n*.secret\n");
  write_file(dir.path() / "out/deep/file", "");
  write_file(dir.path() / "out/.gitignore", "");
  write_file(dir.path() / "a.secret", "");
  write_file(dir.path() / "in", "");
  OpenWatch watch({dir.path(), dir.path() / "out", dir.path() / "out/deep"});
  MemoryStore store;
  const Options options{.source = dir.path(), .data_directory = {}, .stat_cache = {}};
  CHECK(take(options, store).files == 2);
  CHECK(ours(dir.path()) == Names{".gitignore", "in"});
  CHECK(watch.opened() == Names{".", ".gitignore", "in"});
  CHECK_FALSE(explain(options, "a.secret").included);
  CHECK_FALSE(explain(options, "out/deep/file").included);
  const Names opened = watch.opened();
  CHECK(std::find(opened.begin(), opened.end(), "a.secret") == opened.end());
  CHECK(std::find(opened.begin(), opened.end(), "file") == opened.end());
}

TEST_CASE("no file descriptors left is an error, not another set of files") {
  const TempDir dir;
  write_file(dir.path() / ".gitignore", "*.log\n");
  for (const char* path : {"a.log", "d/e/.gitignore", "d/e/b.txt", "d/c.log", "x"})
    write_file(dir.path() / path, "*.txt\n");
  const Names expected = ours(dir.path());
  REQUIRE(expected == Names{".gitignore", "d/e/.gitignore", "x"});
  ::rlimit old{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &old) == 0);
  const int next = ::dup(0);  // the lowest that is free
  ::close(next);
  int failed = 0;
  int listed = 0;
  for (int left = 0; left < 12; ++left) {
    const ::rlimit fewer{.rlim_cur = static_cast<::rlim_t>(next + left), .rlim_max = old.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &fewer) == 0);
    Names names;
    bool thrown = false;
    try {
      names = ours(dir.path());
    } catch (const runner::Error&) {
      thrown = true;
    }
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &old) == 0);
    ++(thrown ? failed : listed);
    INFO(left << " descriptors");
    CHECK((thrown || names == expected));
  }
  CHECK(failed > 0);
  CHECK(listed > 0);
}
