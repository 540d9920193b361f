// Random source directories with random ignore rules, for the comparison with git: made, built on disk, described.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace runner::test {

using Random = std::mt19937_64;
inline std::size_t below(Random& random, std::size_t limit) { return random() % limit; }
inline bool chance(Random& random, int percent) { return below(random, 100) < static_cast<std::size_t>(percent); }
template <typename T>
const T& pick(Random& random, const std::vector<T>& from) {
  return from[below(random, from.size())];
}

struct RuleLines {
  enum class Form { kFile, kSymlink, kDirectory };
  std::vector<std::string> lines;
  std::string line_end = "\n";
  bool byte_order_mark = false;
  bool final_newline = true;
  Form form = Form::kFile;
};

struct RandomTree {
  bool amlignore = false;
  bool ignore_case = false;
  bool index_by_git = false;  // `git add` writes the index (slow), else the test does
  std::string source;         // "" or "d/e": below the repository's root
  std::set<std::string> files;
  std::map<std::string, std::string> links;  // symbolic links and their targets
  std::set<std::string> fifos;
  std::map<std::string, RuleLines> rules;     // by file; ".git/info/exclude" and "../global" too
  std::set<std::string> tracked;              // of `files`, `links` and the rule files; by the repository they are in
  std::set<std::string> deleted;              // of `tracked`: gone from the disk
  std::set<std::string> replaced;             // of `tracked`: a directory with one file now
  std::map<std::string, bool> nested;         // directories that are repositories; true: a submodule of the outer one
  std::set<std::string> directories() const;  // that hold something, "" included, without '/' at the end
};

RandomTree random_tree(Random& random);
std::string random_rule(Random& random, const RandomTree& tree);

// `root` is made; the file "../global" is core.excludesFile.
void build(const RandomTree& tree, const std::filesystem::path& root);
std::string describe(const RandomTree& tree);
std::string quote(const std::string& text);

// `prefix` of `path`: "" or "a/b", whole components.
bool is_below(const std::string& path, const std::string& prefix);

}  // namespace runner::test
