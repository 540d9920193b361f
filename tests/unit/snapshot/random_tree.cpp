#include "random_tree.hpp"

#include <openssl/sha.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "support.hpp"

namespace runner::test {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kNames{"a",
                                      "a",
                                      "b",
                                      "ab",
                                      "B",
                                      "foo",
                                      "foo",
                                      "foo.c",
                                      "foo.o",
                                      ".h",
                                      "a b",
                                      "b ",
                                      "b\\ ",
                                      "[a]",
                                      "a\\b",
                                      "b]",
                                      "#a",
                                      "!a",
                                      "a*",
                                      "x-y",
                                      "\xff\xfe",
                                      "\xc3\xbc",
                                      "\xe9x",
                                      "bar",
                                      "a\nb",
                                      "build",
                                      "Foo",
                                      "FOO.C",
                                      " a",
                                      "a\r",
                                      "t\tt",
                                      "0",
                                      "9z",
                                      "_",
                                      "\x7f",
                                      "^a",
                                      "-",
                                      "a-c",
                                      ".GIT",
                                      "build",
                                      "**",
                                      "?",
                                      "~",
                                      "\x01",
                                      "abc",
                                      "train.py",
                                      "\xef\xbb\xbf"
                                      "a"};

std::string random_path(Random& random) {
  std::string path;
  for (std::size_t depth = below(random, 4); depth > 0; --depth) path += pick(random, kNames) + "/";
  return path + pick(random, kNames);
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string join(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

void add_contents(RandomTree& tree, Random& random) {
  for (std::size_t count = 3 + below(random, 22); count > 0; --count) {
    // Half of them beside one that is there: rules about directories need directories with several files.
    std::string path = random_path(random);
    if (!tree.files.empty() && chance(random, 50)) {
      const auto at = static_cast<std::ptrdiff_t>(below(random, tree.files.size()));
      path = join(parent_of(*std::next(tree.files.begin(), at)), pick(random, kNames));
    }
    const auto clashes = [&](const std::string& other) { return is_below(other, path) || is_below(path, other); };
    if (std::none_of(tree.files.begin(), tree.files.end(), clashes)) tree.files.insert(path);
  }
}

bool is_free(const RandomTree& tree, const std::string& path) {
  return !tree.files.contains(path) && !tree.links.contains(path) && !tree.fifos.contains(path) &&
         !tree.directories().contains(path);
}

void add_specials(RandomTree& tree, Random& random, const std::vector<std::string>& directories) {
  static const std::vector<std::string> kTargets{".", "..", "a", "foo", "nowhere/at/all", "/etc", "/etc/passwd"};
  for (std::size_t count = below(random, 4); count > 0; --count) {
    const std::string path = join(pick(random, directories), pick(random, kNames));
    if (!is_free(tree, path)) continue;
    if (chance(random, 20))
      tree.fifos.insert(path);
    else
      tree.links[path] = pick(random, kTargets);
  }
}

void add_rules(RandomTree& tree, Random& random, const std::vector<std::string>& directories) {
  const std::string name = tree.amlignore ? ".amlignore" : ".gitignore";
  if (tree.amlignore || chance(random, 80)) tree.rules[join(tree.source, name)];
  for (std::size_t count = below(random, 4); count > 0; --count) tree.rules[join(pick(random, directories), name)];
  if (tree.amlignore && chance(random, 50)) tree.rules[join(pick(random, directories), ".gitignore")];
  if (chance(random, 30)) tree.rules[".git/info/exclude"];
  if (chance(random, 30)) tree.rules["../global"];
  for (auto& [file, rules] : tree.rules) {
    rules.line_end = chance(random, 12) ? "\r\n" : "\n";
    rules.byte_order_mark = chance(random, 8);
    rules.final_newline = chance(random, 70);
    const bool in_tree = file != ".git/info/exclude" && file != "../global";
    if (in_tree && chance(random, 4)) rules.form = RuleLines::Form::kSymlink;
    // A directory of the mode's own name at the root would be no .amlignore at all.
    if (in_tree && file != join(tree.source, ".amlignore") && chance(random, 3))
      rules.form = RuleLines::Form::kDirectory;
    if (chance(random, 4)) continue;  // an empty file
    for (std::size_t count = 1 + below(random, 5); count > 0; --count) {
      rules.lines.push_back(random_rule(random, tree));
      if (!chance(random, 15) || tree.files.empty()) continue;
      // A directory, and something in it that is to be kept: the excluded-parent rule.
      const auto at = static_cast<std::ptrdiff_t>(below(random, tree.files.size()));
      const std::string& kept = *std::next(tree.files.begin(), at);
      if (kept.find('/') == std::string::npos || kept.find('\n') != std::string::npos) continue;
      static const std::vector<std::string> kAll{"/", "/*", "/**", "", "/*/"};
      rules.lines.push_back(parent_of(kept) + pick(random, kAll));
      rules.lines.push_back("!" + (chance(random, 50) ? kept : kept.substr(kept.rfind('/') + 1)));
    }
  }
}

void add_index(RandomTree& tree, Random& random) {
  if (!chance(random, 50)) return;
  const auto track = [&](const std::string& path) {
    if (path.find(".GIT") == std::string::npos && chance(random, 40)) tree.tracked.insert(path);
  };
  for (const std::string& file : tree.files) track(file);
  for (const auto& [link, target] : tree.links) track(link);
  for (const auto& [file, rules] : tree.rules)
    if (file != ".git/info/exclude" && file != "../global" && rules.form == RuleLines::Form::kFile) track(file);
  for (const std::string& file : tree.tracked) {
    if (!tree.files.contains(file)) continue;
    if (chance(random, 10))
      tree.deleted.insert(file);
    else if (chance(random, 6))
      tree.replaced.insert(file);
  }
  tree.index_by_git = tree.nested.empty() && chance(random, 10);
}

const std::string* repository_of(const RandomTree& tree, const std::string& path) {
  static const std::string outer;
  const std::string* found = &outer;
  for (const auto& [directory, submodule] : tree.nested)
    if (is_below(path, directory) && path != directory && directory.size() >= found->size()) found = &directory;
  return found;
}

void append_number(std::string& to, std::uint32_t number) {
  for (int shift = 24; shift >= 0; shift -= 8) to += static_cast<char>(number >> shift);
}

// gitformat-index(5), version 2. The objects need not exist for listing names; `git add` would cost a process a tree.
void write_index(const fs::path& repository, const std::map<std::string, std::uint32_t>& modes) {
  std::string index = "DIRC";
  append_number(index, 2);
  append_number(index, static_cast<std::uint32_t>(modes.size()));
  for (const auto& [path, mode] : modes) {
    const std::size_t start = index.size();
    index.append(24, '\0');
    append_number(index, mode);
    index.append(12, '\0');
    index.append(20, '\x11');
    index += static_cast<char>(path.size() >> 8);
    index += static_cast<char>(path.size());
    index += path;
    do index += '\0';
    while ((index.size() - start) % 8 != 0);
  }
  std::array<unsigned char, SHA_DIGEST_LENGTH> checksum;
  ::SHA1(reinterpret_cast<const unsigned char*>(index.data()), index.size(), checksum.data());
  index.append(reinterpret_cast<const char*>(checksum.data()), checksum.size());
  write_file(repository / ".git" / "index", index);
}

void write_indexes(const RandomTree& tree, const fs::path& root) {
  if (tree.index_by_git) {
    std::vector<std::string> arguments{"-c", "core.ignorecase=false", "--literal-pathspecs", "add", "-f", "--"};
    arguments.insert(arguments.end(), tree.tracked.begin(), tree.tracked.end());
    if (!tree.tracked.empty()) git(root, arguments);
    return;
  }
  std::map<std::string, std::map<std::string, std::uint32_t>> indexes;
  const auto add = [&](const std::string& path, std::uint32_t mode) {
    const std::string& repository = *repository_of(tree, path);
    indexes[repository][path.substr(repository.empty() ? 0 : repository.size() + 1)] = mode;
  };
  for (const std::string& path : tree.tracked) add(path, tree.links.contains(path) ? 0120000 : 0100644);
  for (const auto& [directory, submodule] : tree.nested)
    if (submodule) add(directory, 0160000);
  for (const auto& [repository, modes] : indexes) write_index(root / repository, modes);
}

void write_rules(const fs::path& path, const RuleLines& rules) {
  std::string content = rules.byte_order_mark ? "\xef\xbb\xbf" : "";
  for (const std::string& line : rules.lines) content += line + rules.line_end;
  if (!rules.final_newline && !rules.lines.empty()) content.resize(content.size() - rules.line_end.size());
  switch (rules.form) {
    case RuleLines::Form::kFile:
      return write_file(path, content);
    case RuleLines::Form::kSymlink:
      write_file(path.parent_path() / "rules behind a link", content);
      return fs::create_symlink("rules behind a link", path);
    case RuleLines::Form::kDirectory:
      return write_file(path / "inside", content);
  }
}

}  // namespace

bool is_below(const std::string& path, const std::string& prefix) {
  return prefix.empty() || path == prefix ||
         (path.size() > prefix.size() && path.starts_with(prefix) && path[prefix.size()] == '/');
}

std::set<std::string> RandomTree::directories() const {
  std::set<std::string> found{""};
  for (const std::string& file : files)
    for (std::size_t slash = file.find('/'); slash != std::string::npos; slash = file.find('/', slash + 1))
      found.insert(file.substr(0, slash));
  return found;
}

RandomTree random_tree(Random& random) {
  RandomTree tree;
  tree.amlignore = chance(random, 40);
  tree.ignore_case = chance(random, 12);
  add_contents(tree, random);
  const std::set<std::string> set = tree.directories();
  const std::vector<std::string> directories(set.begin(), set.end());
  if (const std::string& source = pick(random, directories);
      chance(random, 30) && source.find(".GIT") == std::string::npos)
    tree.source = source;
  if (chance(random, 15)) {
    const std::string& directory = pick(random, directories);
    if (!directory.empty() && directory.find(".GIT") == std::string::npos)
      tree.nested[directory] = !tree.amlignore && chance(random, 40);
  }
  add_specials(tree, random, directories);
  add_rules(tree, random, directories);
  add_index(tree, random);
  return tree;
}

void build(const RandomTree& tree, const fs::path& root) {
  const std::string configuration = "\texcludesFile = " + (root.parent_path() / "global").string() + "\n" +
                                    (tree.ignore_case ? "\tignorecase = true\n" : "");
  make_repository(root, configuration);
  for (const auto& [directory, submodule] : tree.nested) make_repository(root / directory, configuration);
  for (const std::string& file : tree.files) write_file(root / file, file);
  if (!tree.source.empty()) fs::create_directories(root / tree.source);
  for (const auto& [file, rules] : tree.rules) write_rules(root / file, rules);
  for (const auto& [link, target] : tree.links) {
    fs::create_directories((root / link).parent_path());
    fs::create_symlink(target, root / link);
  }
  for (const std::string& fifo : tree.fifos) {
    fs::create_directories((root / fifo).parent_path());
    if (::mkfifo((root / fifo).c_str(), 0644) != 0) throw std::runtime_error("mkfifo " + fifo);
  }
  write_indexes(tree, root);
  for (const std::string& file : tree.deleted) fs::remove(root / file);
  for (const std::string& file : tree.replaced) {
    fs::remove(root / file);
    write_file(root / file / "inside", "");
  }
}

std::string quote(const std::string& text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f && c != '"')
      quoted += c;
    else
      quoted.append("\\x").append(1, kDigits[byte >> 4]).append(1, kDigits[byte & 15]);
  }
  return quoted + "\"";
}

std::string describe(const RandomTree& tree) {
  std::string text = tree.amlignore ? "mode .amlignore" : "mode .gitignore";
  if (tree.ignore_case) text += ", core.ignorecase";
  if (!tree.source.empty()) text += ", source " + quote(tree.source);
  for (const auto& [file, rules] : tree.rules) {
    text += "\n  " + quote(file);
    if (rules.form == RuleLines::Form::kSymlink) text += " (behind a link)";
    if (rules.form == RuleLines::Form::kDirectory) text += " (a directory)";
    if (rules.line_end != "\n") text += " CRLF";
    if (rules.byte_order_mark) text += " BOM";
    if (!rules.final_newline) text += " no newline at the end";
    text += ":";
    for (const std::string& line : rules.lines) text += "\n    " + quote(line);
  }
  const auto marks = [&](const std::string& path) {
    std::string text_of_marks;
    if (tree.tracked.contains(path)) text_of_marks += " tracked";
    if (tree.deleted.contains(path)) text_of_marks += " deleted";
    if (tree.replaced.contains(path)) text_of_marks += " replaced";
    return text_of_marks;
  };
  for (const std::string& file : tree.files) text += "\n  file " + quote(file) + marks(file);
  for (const auto& [link, target] : tree.links) text += "\n  link " + quote(link) + " to " + target + marks(link);
  for (const std::string& fifo : tree.fifos) text += "\n  FIFO " + quote(fifo);
  for (const auto& [directory, submodule] : tree.nested)
    text += (submodule ? "\n  submodule " : "\n  repository ") + quote(directory);
  return text;
}

}  // namespace runner::test
