#include "snapshot/directory_entries.hpp"

#include <dirent.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "runner/core/error.hpp"

namespace runner::snapshot {

// getdents64(2) itself: readdir's stream would cost an allocation of 32 KiB a directory.
std::vector<DirectoryEntry> read_entries(int directory_fd, const std::string& shown) {
  std::vector<DirectoryEntry> entries;
  alignas(::dirent64) std::array<char, 32768> buffer;
  for (;;) {
    const long got = ::syscall(SYS_getdents64, directory_fd, buffer.data(), buffer.size());
    if (got < 0 && errno == ENOENT)  // removed since it was opened
      throw Error(ErrorCode::kInvalid, shown + ": changed while the source directory was read", "try again");
    if (got < 0) throw errno_error(errno, "read directory " + shown);
    if (got == 0) return entries;
    for (long at = 0; at < got;) {
      const char* record = buffer.data() + at;
      unsigned short length = 0;
      std::memcpy(&length, record + offsetof(::dirent64, d_reclen), sizeof length);
      const char* name = record + offsetof(::dirent64, d_name);
      if (std::strcmp(name, ".") != 0 && std::strcmp(name, "..") != 0)
        entries.push_back({.name = name, .type = static_cast<unsigned char>(record[offsetof(::dirent64, d_type)])});
      at += length;
    }
  }
}

}  // namespace runner::snapshot
