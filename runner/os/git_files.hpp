// Looking at a git repository's own files before anybody opens them. git and libgit2 open HEAD, config, packed-refs and
// whatever an include names with a blocking open: a FIFO there holds up its reader for ever, a device feeds it for
// ever. Any thread; nothing is opened but regular files.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace runner::os {

struct GitFiles {
  std::filesystem::path directory;  // the git directory; empty: there is none
  std::filesystem::path common;     // where objects and branches are; = directory but for a linked work tree
  std::vector<std::filesystem::path> object_directories;  // the repository's own first, then its alternates
  std::string trouble;  // not empty: what stands in the way of reading the repository ("config is a FIFO")
};

// `dot_git` is a ".git" directory, a link to one, a ".git" file with a "gitdir:" line, or a bare repository.
GitFiles inspect_git_files(const std::filesystem::path& dot_git);

// Whether opening and reading the file comes to an end: a regular file of at most `limit` bytes outside /proc and /sys,
// a directory (an error at once) or nothing at all. Links are followed, as a reader would. Else `trouble` names it.
bool is_readable_to_its_end(const std::filesystem::path& file, std::string& trouble, std::int64_t limit = 64 << 20);

}  // namespace runner::os
