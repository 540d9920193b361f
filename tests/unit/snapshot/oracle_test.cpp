// The set of files against git itself, on random trees with random rules. RUNNER_FUZZ_TREES sets how many (default
// 2 000; 100 000 is the long run), RUNNER_FUZZ_SEED repeats one; a mismatch is shrunk before it is shown.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>

#include "random_tree.hpp"
#include "snapshot/wildmatch.hpp"
#include "support.hpp"

namespace fs = std::filesystem;
using namespace runner::test;

namespace {

// What git lists of the index may be gone, or behind a link by now; what is no file nor link we do not list either.
bool is_listed_file(const fs::path& source, const std::string& path) {
  for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
    if (fs::is_symlink(fs::symlink_status(source / path.substr(0, slash)))) return false;
  const auto status = fs::symlink_status(source / path);
  return fs::is_regular_file(status) || fs::is_symlink(status);
}

// What git says of one source directory. A nested repository is one name for the outer git, so each is asked by itself.
class Oracle {
 public:
  explicit Oracle(const RandomTree& tree, const fs::path& root) : tree_(tree), root_(root) {}

  std::vector<std::string> files() {
    list(tree_.source);
    std::sort(files_.begin(), files_.end());
    files_.erase(std::unique(files_.begin(), files_.end()), files_.end());
    return files_;
  }
  bool untracked() const { return untracked_; }

 private:
  std::vector<std::string> ask(const std::string& directory, std::vector<std::string> options) {
    options.insert(options.begin(), {"ls-files", "-z"});
    options.push_back(tree_.amlignore ? "--exclude-per-directory=.amlignore" : "--exclude-standard");
    return split_nul(git(root_ / directory, options));
  }

  void list(const std::string& directory) {
    const std::string prefix = directory.empty() ? "" : directory + "/";
    for (std::string path : ask(directory, {"-c", "-o"})) {
      if (path.ends_with('/')) path.pop_back();
      path.insert(0, prefix);
      if (tree_.nested.contains(path) && path != directory) {
        nested(directory, path);
      } else if (is_listed_file(root_, path)) {
        untracked_ |= !tree_.tracked.contains(path);
        add(path);
      }
    }
  }

  void nested(const std::string& from, const std::string& path) {
    untracked_ |= !tree_.nested.at(path);
    if (!tree_.amlignore) return list(path);
    // An .amlignore speaks for the whole tree: as if there were one repository, except that what is tracked is in.
    for (const std::string& tracked : ask(path, {"-c"}))
      if (is_listed_file(root_, path + "/" + tracked)) add(path + "/" + tracked);
    const fs::path aside = root_.parent_path() / "aside";
    fs::rename(root_ / path / ".git", aside);
    for (const std::string& name : ask(from, {"-o"})) {
      const std::string found = from.empty() ? name : from + "/" + name;
      if (is_below(found, path) && is_listed_file(root_, found)) add(found);
    }
    fs::rename(aside, root_ / path / ".git");
  }

  void add(const std::string& path) {
    files_.push_back(path.substr(tree_.source.empty() ? 0 : tree_.source.size() + 1));
  }

  const RandomTree& tree_;
  fs::path root_;
  std::vector<std::string> files_;
  bool untracked_ = false;
};

struct Comparison {
  std::vector<std::string> git;
  std::vector<std::string> ours;
  std::vector<std::string> unexplained;  // `explain` disagrees with the list
  bool git_untracked = false;            // in .gitignore mode
  bool our_untracked = false;
  bool equal() const { return git == ours && git_untracked == our_untracked && unexplained.empty(); }
};

// In memory where that is possible: a hundred thousand trees are a few million files.
std::unique_ptr<TempDir> temporary() {
  if (std::getenv("TMPDIR") == nullptr && ::access("/dev/shm", W_OK) == 0) return std::make_unique<TempDir>("/dev/shm");
  return std::make_unique<TempDir>();
}

Comparison compare(const RandomTree& tree, bool explained) {
  const auto directory = temporary();
  const fs::path root = directory->path() / "repository";
  build(tree, root);
  const fs::path source = tree.source.empty() ? root : root / tree.source;
  Comparison comparison;
  Oracle oracle(tree, root);
  comparison.git = oracle.files();
  comparison.git_untracked = oracle.untracked();
  comparison.our_untracked = runner::snapshot::has_untracked(source);
  // What a nested repository means for "dirty" is for the tests of git states.
  if (tree.amlignore || tree.ignore_case || !tree.nested.empty()) comparison.our_untracked = comparison.git_untracked;
  const runner::snapshot::Options options{.source = source, .data_directory = {}, .stat_cache = {}};
  comparison.ours = runner::snapshot::list_files(options);
  // With core.ignorecase on a file system that tells cases apart, git forgets a "B" beside a tracked "b", file or
  // submodule; we keep it.
  const std::string prefix = tree.source.empty() ? "" : tree.source + "/";
  if (tree.ignore_case)
    std::erase_if(comparison.ours, [&](const std::string& path) {
      const std::string whole = prefix + path;
      const auto is_it = [&](const std::string& tracked) {
        return runner::snapshot::equal_bytes(tracked, whole, true);
      };
      // Itself, or a directory on the way to it whose name differs from the submodule's in case only.
      const auto is_in_place_of = [&](const std::string& module) {
        const std::string_view start = std::string_view(whole).substr(0, module.size());
        return start != module && runner::snapshot::equal_bytes(module, start, true) &&
               (whole.size() == module.size() || whole[module.size()] == '/');
      };
      return !std::binary_search(comparison.git.begin(), comparison.git.end(), path) &&
             (std::any_of(tree.tracked.begin(), tree.tracked.end(), is_it) ||
              std::any_of(tree.nested.begin(), tree.nested.end(),
                          [&](const auto& nested) { return nested.second && is_in_place_of(nested.first); }));
    });
  if (!explained || tree.ignore_case) return comparison;
  for (const std::set<std::string>& paths : {tree.files, tree.fifos})
    for (const std::string& path : paths) {
      if (!is_below(path, tree.source) || path == tree.source || !is_listed_file(root, path)) continue;
      const std::string relative = path.substr(prefix.size());
      const bool listed = std::binary_search(comparison.ours.begin(), comparison.ours.end(), relative);
      if (runner::snapshot::explain(options, relative).included != listed) comparison.unexplained.push_back(relative);
    }
  return comparison;
}

// Takes away whatever can go without losing the mismatch: rules first, then files.
RandomTree shrink(RandomTree tree) {
  int budget = 600;
  for (bool smaller = true; smaller && budget > 0;) {
    smaller = false;
    const auto adopt = [&](const auto& change) {
      RandomTree candidate = tree;
      change(candidate);
      if (budget-- <= 0 || compare(candidate, true).equal()) return;
      tree = std::move(candidate);
      smaller = true;
    };
    const RandomTree whole = tree;
    for (const auto& [file, rules] : whole.rules) {
      for (std::size_t at = rules.lines.size(); at-- > 0;)
        adopt([&, &name = file](RandomTree& candidate) {
          auto& lines = candidate.rules[name].lines;
          if (at < lines.size()) lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(at));
        });
      if (file != whole.source + ".amlignore" && file != whole.source + "/.amlignore")
        adopt([&name = file](RandomTree& candidate) {
          candidate.rules.erase(name);
          candidate.tracked.erase(name);
        });
      if (rules.byte_order_mark)
        adopt([&name = file](RandomTree& candidate) { candidate.rules[name].byte_order_mark = false; });
      if (rules.line_end != "\n")
        adopt([&name = file](RandomTree& candidate) { candidate.rules[name].line_end = "\n"; });
      if (!rules.final_newline)
        adopt([&name = file](RandomTree& candidate) { candidate.rules[name].final_newline = true; });
    }
    for (const auto& [directory, submodule] : whole.nested)
      adopt([&name = directory](RandomTree& candidate) { candidate.nested.erase(name); });
    for (const std::string& file : whole.files)
      adopt([&](RandomTree& candidate) {
        candidate.files.erase(file);
        for (auto* marks : {&candidate.tracked, &candidate.deleted, &candidate.replaced}) marks->erase(file);
        const std::set<std::string> left = candidate.directories();
        std::erase_if(candidate.nested, [&](const auto& entry) { return !left.contains(entry.first); });
      });
    for (const std::string& file : whole.tracked)
      adopt([&](RandomTree& candidate) {
        for (auto* marks : {&candidate.tracked, &candidate.deleted, &candidate.replaced}) marks->erase(file);
      });
    for (const auto& [link, target] : whole.links)
      adopt([&name = link](RandomTree& candidate) {
        candidate.links.erase(name);
        candidate.tracked.erase(name);
      });
    for (const std::string& fifo : whole.fifos) adopt([&](RandomTree& candidate) { candidate.fifos.erase(fifo); });
    if (tree.ignore_case) adopt([](RandomTree& candidate) { candidate.ignore_case = false; });
  }
  return tree;
}

std::string describe(const RandomTree& tree, const Comparison& comparison) {
  std::string text = describe(tree);
  if (comparison.git_untracked != comparison.our_untracked) text += "\n  has_untracked differs";
  const auto only = [&](const char* who, const std::vector<std::string>& a, const std::vector<std::string>& b) {
    std::vector<std::string> difference;
    std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(difference));
    for (const std::string& path : difference) text.append(who).append(quote(path));
  };
  only("\n  only git has ", comparison.git, comparison.ours);
  only("\n  only we have ", comparison.ours, comparison.git);
  for (const std::string& path : comparison.unexplained) text += "\n  explain disagrees about " + quote(path);
  return text;
}

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* value = std::getenv(variable);
  return value != nullptr ? std::strtoull(value, nullptr, 10) : otherwise;
}

}  // namespace

TEST_CASE("the files of random trees are exactly those that git lists") {
  const std::uint64_t seed = number_from("RUNNER_FUZZ_SEED", std::random_device{}());
  const std::uint64_t trees = number_from("RUNNER_FUZZ_TREES", 2000);
  std::uint64_t listed = 0;
  std::uint64_t left_out = 0;
  for (std::uint64_t at = 0; at < trees; ++at) {
    Random random(seed + at);
    const RandomTree tree = random_tree(random);
    const Comparison comparison = compare(tree, at % 8 == 0 || trees == 1);
    listed += comparison.git.size();
    for (const std::string& file : tree.files)
      if (is_below(file, tree.source) &&
          !std::binary_search(comparison.git.begin(), comparison.git.end(),
                              file.substr(tree.source.empty() ? 0 : std::min(tree.source.size() + 1, file.size()))))
        ++left_out;
    if (comparison.equal()) continue;
    const RandomTree small = shrink(tree);
    FAIL("RUNNER_FUZZ_SEED=" << seed + at << " RUNNER_FUZZ_TREES=1\n" << describe(small, compare(small, true)));
  }
  // Rules that never hit would compare nothing.
  INFO(listed << " files in, " << left_out << " out");
  if (trees >= 100) CHECK(left_out * 5 > listed);
  CHECK(listed > 0);
}
