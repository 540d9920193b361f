// Which entries of a source directory are in. The walk and `explain` both descend through `Place`s, so they cannot
// disagree. After construction any number of threads at once.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runner/os/fd.hpp"
#include "snapshot/ignore_rules.hpp"
#include "snapshot/snapshot.hpp"
#include "snapshot/tracked_paths.hpp"
#include "snapshot/work_tree.hpp"

namespace runner::snapshot {

// A stretch of the tree under one set of rules: the source directory, or a repository nested in it.
struct RuleDomain {
  std::string ignore_name;          // ".gitignore" or ".amlignore"
  bool ignore_case = false;         // core.ignorecase
  std::vector<RuleFile> fallbacks;  // asked in this order after the directories' own files
};

// The ignore files of a directory and its parents, innermost first.
struct RuleFrame {
  std::shared_ptr<const RuleFrame> outer;
  RuleFile file;
  std::size_t base;  // length of the path of the file's directory in its domain
};

// One directory on the way down.
struct Place {
  std::shared_ptr<const RuleDomain> domain;
  std::shared_ptr<const RuleFrame> rules;
  std::shared_ptr<const TrackedPaths> index;  // never null
  TrackedPaths::Range tracked;
  std::string path;           // in its domain: "" or "a/b/"
  bool tracked_only = false;  // below an ignored directory: only what git tracks is in
};

struct Decision {
  bool included = false;  // of a directory: it is in, or something below it may be
  bool tracked_only = false;
  TrackedPaths::Kind tracked = TrackedPaths::Kind::kNone;
  const Rule* rule = nullptr;  // the one that decided, if one did
  const RuleFile* file = nullptr;
};

// Which directory stops being part of the snapshot whatever the rules say, and why; nullptr: none of these.
inline constexpr std::string_view kBuiltInGit = "built-in: git's own directory";
inline constexpr std::string_view kBuiltInEnvironment = "built-in: virtual environment";
inline constexpr std::string_view kBuiltInData = "built-in: the runner's data directory";

class Scope {
 public:
  // Opens the source directory and finds the repository around it. Error(kNotFound) or Error(kInvalid) naming the
  // directory. `ignore_name`: the ignore files' name where the root's contents do not decide it.
  explicit Scope(const Options& options, std::string ignore_name = {});

  const os::Fd& root() const { return *root_; }
  const Place& root_place() const { return root_place_; }
  bool in_work_tree() const { return in_work_tree_; }
  const std::string& ignore_name() const { return ignore_name_; }
  // What put the whole source directory out of git's sight: it lies in a directory that the repository ignores.
  const Decision& root_decision() const { return root_decision_; }

  Decision decide(const Place& place, std::string_view name, bool is_directory) const;
  // `decide(…).included` of what is no directory, without finding out why: the index is asked only about what a rule
  // ignores.
  bool includes_file(const Place& place, std::string_view name) const;

  // The place of a subdirectory that `decide` let in. `shown` is its path from the source directory, with '/' at the
  // end.
  Place enter(const Place& parent, std::string_view name, const Decision& decision, int directory_fd,
              const std::string& shown, bool has_dot_git);

  bool is_git_name(const Place& place, std::string_view name) const;
  bool is_environment(int directory_fd) const;  // pyvenv.cfg or conda-meta/ inside
  bool is_data_directory(int directory_fd) const;

  void warn(std::string warning);
  void add_unreadable(std::string path);     // from the source directory
  std::vector<std::string> take_warnings();  // sorted
  std::vector<std::string> take_unreadable();

 private:
  struct Ruling {
    const Rule* rule = nullptr;
    const RuleFile* file = nullptr;
  };
  Ruling ruling(const Place& place, std::string_view name, bool is_directory) const;
  void open_source(const Options& options);
  void enter_leading_directories(const WorkTree& tree);
  void read_ignore_file(Place& place, int directory_fd, const std::string& shown);
  std::shared_ptr<const RuleDomain> domain_of(const WorkTree& tree) const;

  std::filesystem::path source_;
  std::shared_ptr<os::Fd> root_;
  std::string ignore_name_;
  std::uint64_t data_device_ = 0;
  std::uint64_t data_inode_ = 0;  // 0: there is no data directory
  Place root_place_;
  Decision root_decision_;
  bool in_work_tree_ = false;
  std::mutex mutex_;  // guards the two below
  std::vector<std::string> warnings_;
  std::vector<std::string> unreadable_;
};

// Throws one Error(kPermission) naming every path in `unreadable`, if there are any.
void throw_if_unreadable(std::vector<std::string> unreadable);

}  // namespace runner::snapshot
