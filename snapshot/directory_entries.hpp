// The names in a directory. Any thread.
#pragma once

#include <string>
#include <vector>

namespace runner::snapshot {

struct DirectoryEntry {
  std::string name;
  unsigned char type;  // DT_* of dirent.h; DT_UNKNOWN on file systems that do not say
};

// Everything but "." and "..", in the file system's order; moves the descriptor's position to the end. `shown` is for
// the Error.
std::vector<DirectoryEntry> read_entries(int directory_fd, const std::string& shown);

}  // namespace runner::snapshot
