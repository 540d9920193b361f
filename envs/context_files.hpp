// What of a directory a build context holds. Private to this folder. Blocking; any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "envs/docker_ignore.hpp"
#include "runner/os/fd.hpp"

namespace runner::envs {

struct ContextFile {
  std::string path;           // relative
  mode_t mode = 0;            // kind and permissions
  std::uint64_t device = 0;   // of a device
  std::int64_t size = 0;      // bytes of a regular file
  std::int64_t modified = 0;  // ns since 1970
  std::int64_t changed = 0;   // ns since 1970: the inode
  std::uint64_t inode = 0;
  std::string target{};  // of a link
  // In place of the file's content: what is sent, and what counts for the digest (empty: it does not count at all).
  std::optional<std::string> sent{};
  bool counts = true;
};

// Sorted by bytes, so that a directory comes before what is in it. Sockets are left out; an ignored directory is there
// only for what a "!" takes back, and not entered where none can. Error(kPermission) naming what cannot be read.
// `left_out`: a directory that is no part of it wherever it lies; may be empty.
std::vector<ContextFile> list_context(const os::Fd& directory, const std::string& name, const DockerIgnore& ignore,
                                      const std::filesystem::path& left_out = {});

}  // namespace runner::envs
