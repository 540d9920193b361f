// A git index file ("DIRC" versions 2 to 4, SHA-1), read by hand: libgit2 knows no sparse index, hides git's cached
// tree, and takes ten times as long (it checks a hash over the whole file, which git does not). Foreign input: every
// length is checked, paths that lead out of the work tree are refused. Immutable after construction: any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace runner::os {

using GitId = std::array<std::uint8_t, 20>;  // SHA-1 of an object

inline constexpr std::uint32_t kGitTypeMask = 0170000;
inline constexpr std::uint32_t kGitTree = 0040000;  // in an index: a sparse directory
inline constexpr std::uint32_t kGitFile = 0100000;
inline constexpr std::uint32_t kGitLink = 0120000;
inline constexpr std::uint32_t kGitSubmodule = 0160000;

struct GitIndexEntry {
  std::string_view path;  // from the work tree's root; a sparse directory's ends in '/'
  std::uint32_t mode = 0;
  GitId id{};
  int stage = 0;  // 1 to 3: in conflict
  bool assume_valid = false;
  bool skip_worktree = false;
  bool intent_to_add = false;
  // What stat said when git last looked, cut to 32 bits; all 0: git has not looked.
  std::uint32_t ctime_seconds = 0, ctime_nanoseconds = 0;
  std::uint32_t mtime_seconds = 0, mtime_nanoseconds = 0;
  std::uint32_t device = 0, inode = 0, uid = 0, gid = 0, size = 0;

  std::uint32_t type() const { return mode & kGitTypeMask; }
};

// A directory as git's cached tree has it. Children follow their parent, each with all of its own.
struct GitCachedTree {
  std::string_view name;
  std::optional<GitId> id;   // absent: something below has been staged since
  std::size_t children = 0;  // direct ones
  std::size_t next = 0;      // behind the last of its subtree
};

class GitIndex {
 public:
  // Error(kInvalid) saying what is wrong: damaged, larger than 512 MiB, no regular file, a split index, SHA-256. An
  // absent file is an empty index.
  static GitIndex read(const std::filesystem::path& file);
  static GitIndex parse(std::string content);  // for tests: the same without a file

  const std::vector<GitIndexEntry>& entries() const { return entries_; }     // sorted by path, then stage; bytewise
  const std::vector<GitCachedTree>& cached_trees() const { return trees_; }  // the root first; may be empty
  bool sparse() const { return sparse_; }                                    // holds sparse directories
  std::int64_t written_seconds() const { return written_seconds_; }          // the file's mtime; 0 without a file
  // The entries whose path starts with `prefix` ("" or "a/b/").
  struct Range {
    std::size_t first, last;  // last: one behind
  };
  Range below(std::string_view prefix) const;

 private:
  void read_content();
  std::size_t read_entries(std::size_t count, std::uint32_t version, std::size_t end);
  void read_extensions(std::size_t at, std::size_t end);
  void read_trees(std::string_view extension);

  std::vector<char> content_;         // paths point into it: a vector's bytes stay where they are when it is moved
  std::deque<std::string> expanded_;  // version 4's paths
  std::vector<GitIndexEntry> entries_;
  std::vector<GitCachedTree> trees_;
  bool sparse_ = false;
  std::int64_t written_seconds_ = 0;
};

}  // namespace runner::os
