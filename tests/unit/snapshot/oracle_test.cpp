// The set of files against git itself, on random trees with random rules. RUNNER_FUZZ_TREES sets how many (default
// 300), RUNNER_FUZZ_SEED repeats a run; a mismatch is shrunk before it is shown.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "snapshot/wildmatch.hpp"
#include "support.hpp"

namespace fs = std::filesystem;
using namespace std::string_literals;
using runner::test::TempDir;

namespace {

struct Tree {
  bool amlignore = false;
  bool ignore_case = false;
  std::string source;                                     // "" or "d/e": below the repository's root
  std::set<std::string> files;                            // plain files, paths from the root
  std::set<std::string> links;                            // symbolic links to a directory
  std::map<std::string, std::vector<std::string>> rules;  // lines by file; ".git/info/exclude" and "../global" too
  std::set<std::string> tracked;                          // of `files`
  std::set<std::string> deleted;                          // of `tracked`: gone from the disk
  std::set<std::string> replaced;                         // of `tracked`: a directory with one file now
  std::string line_end = "\n";
};

using Random = std::mt19937_64;
std::size_t below(Random& random, std::size_t limit) { return random() % limit; }
bool chance(Random& random, int percent) { return below(random, 100) < static_cast<std::size_t>(percent); }
const std::string& pick(Random& random, const std::vector<std::string>& from) {
  return from[below(random, from.size())];
}

const std::vector<std::string> kNames{"a",  "b",   "ab", "B",   "foo",  "foo.c",    "foo.o",
                                      ".h", "a b", "b ", "[a]", "a\\b", "\xff\xfe", "\xc3\xbc",
                                      "#a", "!a",  "a*", "x-y", "bar",  "a\nb",     "build"};
const std::vector<std::string> kPieces{
    "a",           "b",        "foo",   "*",   "*",     "**",          "**/",
    "/**",         "/**/",     "/",     "/",   "?",     "[ab]",        "[!a]",
    "[^b]",        "[a-f]",    "[]a]",  "[",   "]",     "[[:alpha:]]", "[[:upper:]b]",
    "[[:space:]]", "[[:no:]]", "\\",    "\\ ", " ",     "\\*",         ".",
    ".c",          "bar",      "build", "A",   "[A-F]", "!",           "#",
    "\t",          "\\a",      "ab",    "-",   "[a-",   "\xc3\xbc",    "\xff",
    "***",         "foo.o",    "\\/"};

std::string random_path(Random& random) {
  std::string path;
  for (std::size_t depth = below(random, 4); depth > 0; --depth) path += pick(random, kNames) + "/";
  return path + pick(random, kNames);
}

std::string random_rule(Random& random, const Tree& tree) {
  std::string rule = chance(random, 20) ? "!" : "";
  if (chance(random, 35) && !tree.files.empty()) {  // a real path, perhaps cut short: such rules bite
    std::string path = *std::next(tree.files.begin(), static_cast<std::ptrdiff_t>(below(random, tree.files.size())));
    for (std::size_t cut = below(random, 3); cut > 0 && path.find('/') != std::string::npos; --cut)
      path = path.substr(0, path.rfind('/'));
    if (chance(random, 40)) path = path.substr(path.rfind('/') + 1);
    if (chance(random, 30)) path.insert(0, "/");
    if (chance(random, 30)) path += "/";
    if (chance(random, 30)) path[below(random, path.size())] = "*?"[below(random, 2)];
    if (path.find('\n') == std::string::npos) return rule + path;
  }
  for (std::size_t count = 1 + below(random, 5); count > 0; --count) rule += pick(random, kPieces);
  if (chance(random, 20)) rule += "/";
  if (chance(random, 10)) rule += "  ";
  return rule;
}

Tree random_tree(Random& random) {
  Tree tree;
  tree.amlignore = chance(random, 40);
  tree.ignore_case = chance(random, 12);
  for (std::size_t count = 3 + below(random, 22); count > 0; --count) {
    const std::string path = random_path(random);
    const auto clashes = [&](const std::string& other) {
      return other.starts_with(path + "/") || path.starts_with(other + "/");
    };
    if (std::any_of(tree.files.begin(), tree.files.end(), clashes)) continue;
    tree.files.insert(path);
  }
  std::vector<std::string> directories{""};
  for (const std::string& file : tree.files)
    for (std::size_t slash = file.find('/'); slash != std::string::npos; slash = file.find('/', slash + 1))
      directories.push_back(file.substr(0, slash + 1));
  if (chance(random, 30)) {
    tree.source = pick(random, directories);
    if (!tree.source.empty()) tree.source.pop_back();
  }
  const std::string name = tree.amlignore ? ".amlignore" : ".gitignore";
  const std::string root_rules = (tree.source.empty() ? "" : tree.source + "/") + name;
  if (tree.amlignore || chance(random, 80)) tree.rules[root_rules];
  for (std::size_t count = below(random, 4); count > 0; --count) tree.rules[pick(random, directories) + name];
  if (tree.amlignore && chance(random, 50)) tree.rules[pick(random, directories) + ".gitignore"];
  if (chance(random, 30)) tree.rules[".git/info/exclude"];
  if (chance(random, 30)) tree.rules["../global"];
  if (chance(random, 15)) tree.line_end = "\r\n";
  for (auto& [file, lines] : tree.rules)
    for (std::size_t count = 1 + below(random, 5); count > 0; --count) lines.push_back(random_rule(random, tree));
  for (std::size_t count = below(random, 3); count > 0; --count)
    tree.links.insert(pick(random, directories) + pick(random, kNames));
  std::erase_if(tree.links, [&](const std::string& link) {
    return tree.files.contains(link) ||
           std::find(directories.begin(), directories.end(), link + "/") != directories.end();
  });
  if (chance(random, 50))
    for (const std::string& file : tree.files)
      if (chance(random, 40)) {
        tree.tracked.insert(file);
        if (chance(random, 10))
          tree.deleted.insert(file);
        else if (chance(random, 5) && file != tree.source)
          tree.replaced.insert(file);
      }
  return tree;
}

void build(const Tree& tree, const fs::path& root) {
  runner::test::make_repository(root, "\texcludesFile = " + (root / ".." / "global").string() + "\n" +
                                          (tree.ignore_case ? "\tignorecase = true\n" : ""));
  for (const std::string& file : tree.files) runner::test::write_file(root / file, file);
  if (!tree.source.empty()) fs::create_directories(root / tree.source);
  for (const auto& [file, lines] : tree.rules) {
    std::string content;
    for (const std::string& line : lines) content += line + tree.line_end;
    if (!content.empty() && lines.size() % 2 == 0) content.pop_back();  // no newline at the end
    runner::test::write_file(root / file, content);
  }
  for (const std::string& link : tree.links) {
    fs::create_directories((root / link).parent_path());
    if (::symlink(".", (root / link).c_str()) != 0) continue;
  }
  if (!tree.tracked.empty()) {
    std::vector<std::string> arguments{"-c", "core.ignorecase=false", "--literal-pathspecs", "add", "-f", "--"};
    arguments.insert(arguments.end(), tree.tracked.begin(), tree.tracked.end());
    runner::test::git(root, arguments);
  }
  for (const std::string& file : tree.deleted) fs::remove(root / file);
  for (const std::string& file : tree.replaced) {
    fs::remove(root / file);
    runner::test::write_file(root / file / "inside", "");
  }
}

// Git lists what the index has whether it is there or not.
bool is_listed_file(const fs::path& source, const std::string& path) {
  for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
    if (fs::is_symlink(source / path.substr(0, slash))) return false;
  const auto status = fs::symlink_status(source / path);
  return fs::is_regular_file(status) || fs::is_symlink(status);
}

struct Comparison {
  std::vector<std::string> git;
  std::vector<std::string> ours;
  bool git_untracked = false;  // in .gitignore mode
  bool our_untracked = false;
  bool equal() const { return git == ours && git_untracked == our_untracked; }
};

Comparison compare(const Tree& tree) {
  const TempDir directory;
  const fs::path root = directory.path() / "repository";
  build(tree, root);
  const fs::path source = tree.source.empty() ? root : root / tree.source;
  std::vector<std::string> arguments{"ls-files", "-z", "-c", "-o"};
  arguments.push_back(tree.amlignore ? "--exclude-per-directory=.amlignore" : "--exclude-standard");
  Comparison comparison;
  const std::string prefix = tree.source.empty() ? "" : tree.source + "/";
  for (std::string& path : runner::test::split_nul(runner::test::git(source, arguments))) {
    if (!is_listed_file(source, path)) continue;
    if (!tree.tracked.contains(prefix + path)) comparison.git_untracked = true;
    comparison.git.push_back(std::move(path));
  }
  comparison.our_untracked = runner::snapshot::has_untracked(source);
  if (tree.amlignore || tree.ignore_case) comparison.our_untracked = comparison.git_untracked;
  std::sort(comparison.git.begin(), comparison.git.end());
  comparison.git.erase(std::unique(comparison.git.begin(), comparison.git.end()), comparison.git.end());
  comparison.ours = runner::snapshot::list_files({.source = source, .data_directory = {}, .stat_cache = {}});
  // With core.ignorecase on a file system that tells cases apart, git forgets a "B" beside a tracked "b"; we keep it.
  if (tree.ignore_case)
    std::erase_if(comparison.ours, [&](const std::string& path) {
      const std::string from_root = prefix + path;
      return std::none_of(comparison.git.begin(), comparison.git.end(),
                          [&](const std::string& same) { return same == path; }) &&
             std::any_of(tree.tracked.begin(), tree.tracked.end(), [&](const std::string& tracked) {
               return runner::snapshot::equal_bytes(tracked, from_root, true);
             });
    });
  return comparison;
}

// Takes away whatever can go without losing the mismatch: rules first, then files.
Tree shrink(Tree tree) {
  int budget = 300;
  const auto still_fails = [&budget](const Tree& candidate) { return budget-- > 0 && !compare(candidate).equal(); };
  for (bool smaller = true; smaller && budget > 0;) {
    smaller = false;
    const auto adopt = [&](Tree candidate) {
      if (!still_fails(candidate)) return false;
      tree = std::move(candidate);
      return smaller = true;
    };
    for (const auto& [file, lines] : std::map(tree.rules))
      for (std::size_t at = lines.size(); at-- > 0;) {
        Tree candidate = tree;
        auto& kept = candidate.rules[file];
        if (at < kept.size()) kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(at));
        adopt(std::move(candidate));
      }
    for (const std::string& file : std::set(tree.files)) {
      Tree candidate = tree;
      candidate.files.erase(file);
      candidate.tracked.erase(file);
      candidate.deleted.erase(file);
      candidate.replaced.erase(file);
      adopt(std::move(candidate));
    }
    for (const std::string& link : std::set(tree.links)) {
      Tree candidate = tree;
      candidate.links.erase(link);
      adopt(std::move(candidate));
    }
  }
  return tree;
}

std::string quote(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '\n')
      quoted += "\\n";
    else if (c == '\t')
      quoted += "\\t";
    else
      quoted += c;
  }
  return quoted + "\"";
}

std::string describe(const Tree& tree, const Comparison& comparison) {
  std::string text = tree.amlignore ? "mode .amlignore" : "mode .gitignore";
  if (tree.ignore_case) text += ", core.ignorecase";
  if (!tree.source.empty()) text += ", source " + quote(tree.source);
  for (const auto& [file, lines] : tree.rules)
    for (const std::string& line : lines) text += "\n  " + quote(file) + ": " + quote(line);
  for (const std::string& file : tree.files) {
    text += "\n  file " + quote(file) + (tree.tracked.contains(file) ? " tracked" : "");
    if (tree.deleted.contains(file)) text += " deleted";
    if (tree.replaced.contains(file)) text += " replaced";
  }
  for (const std::string& link : tree.links) text += "\n  link " + quote(link);
  if (comparison.git_untracked != comparison.our_untracked) text += "\n  has_untracked differs";
  std::vector<std::string> difference;
  std::set_difference(comparison.git.begin(), comparison.git.end(), comparison.ours.begin(), comparison.ours.end(),
                      std::back_inserter(difference));
  for (const std::string& path : difference) text += "\n  only git has " + quote(path);
  difference.clear();
  std::set_difference(comparison.ours.begin(), comparison.ours.end(), comparison.git.begin(), comparison.git.end(),
                      std::back_inserter(difference));
  for (const std::string& path : difference) text += "\n  only we have " + quote(path);
  return text;
}

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* value = std::getenv(variable);
  return value != nullptr ? std::strtoull(value, nullptr, 10) : otherwise;
}

}  // namespace

TEST_CASE("the files of random trees are exactly those that git lists") {
  const std::uint64_t seed = number_from("RUNNER_FUZZ_SEED", std::random_device{}());
  const std::uint64_t trees = number_from("RUNNER_FUZZ_TREES", 300);
  for (std::uint64_t at = 0; at < trees; ++at) {
    Random random(seed + at);
    const Tree tree = random_tree(random);
    if (compare(tree).equal()) continue;
    const Tree small = shrink(tree);
    FAIL("RUNNER_FUZZ_SEED=" << seed + at << " RUNNER_FUZZ_TREES=1\n" << describe(small, compare(small)));
  }
  CHECK(trees > 0);
}
