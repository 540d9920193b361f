// Freezing a source directory: which files are in, their tree, its id. The id depends on names, types, executable bits
// and contents only. Any thread; one call works with several threads inside.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runner/core/content.hpp"

namespace runner::snapshot {

struct Options {
  std::filesystem::path source;          // absolute directory
  std::filesystem::path data_directory;  // always out, wherever it lies
  std::filesystem::path stat_cache;      // file for this source's stat cache; empty: none is used
  // Called with a line for people, on a thread of the snapshot, before anything is copied, when so many files or bytes
  // are new. Empty: nobody wants to know.
  std::function<void(const std::string&)> before_large_copy = {};
  std::int64_t large_files = 0;
  std::int64_t large_bytes = 0;
  bool alone = false;  // a copy that lies somewhere: no repository around it is its
};

struct Snapshot {
  Hash id;                 // hash of the root tree object
  std::int64_t files = 0;  // regular files and symbolic links
  std::int64_t bytes = 0;
  std::vector<std::string>
      warnings;  // skipped sockets, FIFOs, devices; ignore files or repositories that could not be read
};

// Writes every new content and tree object into `store` and commits: durable on return.
// Errors: kInvalid naming the file that kept changing; kPermission naming every unreadable file, all at once; kNotFound
// for a missing source directory; kNoSpace.
Snapshot take(const Options& options, ContentWriter& store);

// What `take` would include, bytewise sorted, relative paths with '/'; directories are not listed.
std::vector<std::string> list_files(const Options& options);

// Why a path is in or out: "tracked", "not ignored", ".gitignore:3: *.log", "built-in: virtual environment", "missing".
struct Explanation {
  bool included = false;
  std::string reason;
  // The rule that decided, if one did: as in `reason`.
  std::string file = {};
  std::uint32_t line = 0;
  std::string pattern = {};
};
Explanation explain(const Options& options, const std::string& relative_path);
// Several paths at the cost of one look at the repository.
std::vector<Explanation> explain(const Options& options, const std::vector<std::string>& relative_paths);

// Whether a directory of a git work tree holds files that are neither tracked nor ignored, as `git status` would say:
// for git::read_state. Only .gitignore files count here, and nothing is built in. False outside any work tree.
bool has_untracked(const std::filesystem::path& directory);

// Those files, as `git ls-files -o --exclude-standard` in the directory lists them: relative paths, bytewise sorted; a
// repository of its own is one name that ends in '/'.
struct UntrackedFiles {
  std::vector<std::string> paths;  // at most `limit`
  std::int64_t more = 0;           // how many there are beside
};
UntrackedFiles list_untracked(const std::filesystem::path& directory, std::size_t limit);

// Reading a snapshot back
// -----------------------------------------------------------------------------------------------

enum class EntryType : char { kFile = 'f', kExecutable = 'x', kSymlink = 'l', kDirectory = 'd' };
struct Entry {
  std::string path;  // relative to the root, bytes
  EntryType type;
  Hash content;  // of a file; of a symlink's target text; of a directory's tree object
  std::int64_t bytes;
};
// Depth first, bytewise order. Error(kNotFound) if the snapshot is not in the store.
void for_each_entry(const ContentReader& store, const Hash& id, const std::function<void(const Entry&)>& visit);
std::optional<Entry> find_entry(const ContentReader& store, const Hash& id, std::string_view path);
// The same, and symbolic links are followed as if the snapshot lay at `place` (absolute). Nothing for one that leads
// out of it, to nothing, or in a circle.
std::optional<Entry> follow_entry(const ContentReader& store, const Hash& id, const std::filesystem::path& place,
                                  std::string_view path);

// Real files of a snapshot in `target`, which must not exist: made in a temporary sibling and renamed, so it is there
// whole or not at all (a tree already there, made by somebody at the same time, is fine). Files 0644/0755, directories
// 0755.
void materialize(const ContentReader& store, const Hash& id, const std::filesystem::path& target);

// Whether the store has a directory of some snapshot under this name; the root of a snapshot is one.
bool is_tree(const ContentReader& store, const Hash& id);

}  // namespace runner::snapshot
