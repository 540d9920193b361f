#include "runner/engine/archive.hpp"

#include <archive.h>
#include <archive_entry.h>

#include <array>
#include <memory>

namespace runner::engine {

std::optional<ArchivedPath> read_archived_path(std::string_view tar) {
  const std::unique_ptr<::archive, int (*)(::archive*)> reader(::archive_read_new(), ::archive_read_free);
  ::archive_read_support_format_tar(reader.get());
  if (::archive_read_open_memory(reader.get(), tar.data(), tar.size()) != ARCHIVE_OK) return std::nullopt;
  ::archive_entry* entry = nullptr;
  if (::archive_read_next_header(reader.get(), &entry) != ARCHIVE_OK) return std::nullopt;
  ArchivedPath path;
  path.directory = ::archive_entry_filetype(entry) == AE_IFDIR;
  if (path.directory) {
    path.holds_something = ::archive_read_next_header(reader.get(), &entry) == ARCHIVE_OK;
    return path;
  }
  std::array<char, 16384> buffer;
  for (la_ssize_t got = 0; (got = ::archive_read_data(reader.get(), buffer.data(), buffer.size())) > 0;)
    path.content.append(buffer.data(), static_cast<std::size_t>(got));
  return path;
}

}  // namespace runner::engine
