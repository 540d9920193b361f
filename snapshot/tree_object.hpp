// The stored form of one directory. A snapshot's id is the SHA-256 of its root's form, which is content like any other:
//
//   tree    = "runner tree 1" LF entry*          entries in ascending bytewise order of name, names distinct
//   entry   = type size SP hash name NUL
//   type    = "f" | "x" | "l" | "d"              file, executable file, symbolic link, directory
//   size    = decimal bytes of the content, without leading zeros; "0" for a directory
//   hash    = 32 bytes: SHA-256 of the content, of the link's target text, of the directory's tree
//   name    = 1*255 bytes without NUL and "/"; not "." and not ".."
//
// Nothing else of a file counts, so equal trees have equal ids wherever and whenever they were made. A new version of
// this format would change every id: it gets a new first line, and old trees stay readable.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "snapshot/snapshot.hpp"

namespace runner::snapshot {

struct TreeEntry {
  std::string name;
  EntryType type;
  Hash content;
  std::int64_t bytes = 0;
};

class TreeEncoder {
 public:
  TreeEncoder();
  // In ascending order of name; a wrong order is a defect (Error(kInternal)).
  void add(std::string_view name, EntryType type, const Hash& content, std::int64_t bytes);
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
  std::string last_;
};

// Error(kInternal) for anything that the grammar above does not produce: a damaged store, or a hostile import.
std::vector<TreeEntry> decode_tree(std::string_view bytes);

Hash sha256(std::span<const std::byte> content);
Hash sha256(std::string_view content);

}  // namespace runner::snapshot
