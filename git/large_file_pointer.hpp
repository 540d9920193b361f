// Git LFS: what its clean filter makes of a file, without running it (a repository's configuration names the program,
// the format is public and fixed). Private to git/.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace runner::git {

// The pointer text of an open regular file of `size` bytes; of one that is a pointer or empty: the file itself. Nothing
// if it cannot be read.
std::optional<std::string> large_file_pointer(int fd, off_t size);

}  // namespace runner::git
