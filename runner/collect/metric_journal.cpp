#include "runner/collect/metric_journal.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "runner/core/time.hpp"
#include "runner/os/fd.hpp"

namespace runner::collect {
namespace {

constexpr char kRecordSeparator = '\x1e';
constexpr std::int64_t kReadLimit = 1 << 20;  // bytes at a time, and so the longest record

JournalPart unreadable(std::int64_t offset, const std::string& why) {
  JournalPart part;
  part.next_offset = offset;
  part.notices.push_back("metric journal: " + why);
  return part;
}

// Where the next byte lies that was written; `end` if there is none before it. A file system that knows no holes says
// that everything was.
std::int64_t skip_hole(const os::Fd& fd, std::int64_t offset, std::int64_t end) {
  const off_t data = ::lseek(fd.get(), offset, SEEK_DATA);
  if (data < 0) return errno == ENXIO ? end : offset;
  return std::clamp<std::int64_t>(data, offset, end);
}

std::string read_at(const os::Fd& fd, std::int64_t offset, std::int64_t length) {
  std::string bytes(static_cast<std::size_t>(length), '\0');
  std::size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t got =
        ::pread(fd.get(), bytes.data() + filled, bytes.size() - filled, offset + static_cast<std::int64_t>(filled));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    filled += static_cast<std::size_t>(got);
  }
  bytes.resize(filled);
  return bytes;
}

}  // namespace

JournalLosses& JournalLosses::operator+=(const JournalLosses& more) {
  damaged += more.damaged;
  too_long += more.too_long;
  beyond_limit = std::max(beyond_limit, more.beyond_limit);  // told anew when the end is read again
  return *this;
}

std::string to_text(const JournalLosses& losses) {
  std::string text;
  const auto add = [&text](const std::string& what) { text += (text.empty() ? "metric journal: " : "; ") + what; };
  if (losses.damaged > 0)
    add(std::to_string(losses.damaged) + (losses.damaged == 1 ? " record was" : " records were") +
        " damaged and left out");
  if (losses.too_long > 0) add(format_size(losses.too_long) + " in records of more than 1 MiB each were left out");
  if (losses.beyond_limit > 0)
    add("its last " + format_size(losses.beyond_limit) + " were left out: at most " + format_size(kJournalLimit) +
        " are read");
  return text;
}

JournalPart parse_journal(std::string_view bytes, std::int64_t offset, bool complete) {
  JournalPart part;
  std::size_t at = 0;
  while (at < bytes.size()) {
    const std::size_t next = std::min(bytes.find(kRecordSeparator, at + 1), bytes.size());
    const std::string_view whole = bytes.substr(at, next - at);
    const bool last = next == bytes.size();
    const bool ended = whole.ends_with('\n');
    if (last && !ended && !complete) break;  // still being written
    if (whole.front() != kRecordSeparator || !ended) {
      // What stands before the first separator belongs to a record that was damaged; a bare line end is nothing.
      if (whole.find_first_not_of("\r\n\t ") != std::string_view::npos) ++part.losses.damaged;
    } else if (auto record = parse_record(whole.substr(1, whole.size() - 2))) {
      if (auto* artifact = std::get_if<JournalArtifact>(&*record))
        part.artifacts.push_back(std::move(*artifact));
      else
        part.records.push_back(std::get<MetricRecord>(std::move(*record)));
    } else {
      ++part.losses.damaged;
    }
    at = next;
  }
  part.next_offset = offset + static_cast<std::int64_t>(at);
  return part;
}

JournalPart read_journal(const std::filesystem::path& journal, std::int64_t offset, bool complete) {
  const int descriptor = ::open(journal.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) {
    if (errno == ENOENT && offset == 0) return {};
    return unreadable(offset, std::string("cannot be read: ") +
                                  (errno == ELOOP ? "it became a symbolic link" : std::strerror(errno)));
  }
  const os::Fd fd(descriptor);
  struct ::stat info {};
  if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode))
    return unreadable(offset, "cannot be read: not a regular file");
  if (info.st_size < offset)
    return unreadable(info.st_size, "shrank from " + std::to_string(offset) + " to " + std::to_string(info.st_size) +
                                        " bytes; what was read before is kept");
  const std::int64_t end = std::min<std::int64_t>(info.st_size, kJournalLimit);
  JournalPart part;
  part.next_offset = offset;
  if (const std::int64_t data = offset < end ? skip_hole(fd, offset, end) : offset; data > offset) {
    if (data == end && !complete) return part;  // more may be written there
    part.losses.damaged = 1;
    part.next_offset = data;
  } else if (offset < end) {
    const std::string bytes = read_at(fd, offset, std::min<std::int64_t>(end - offset, kReadLimit));
    const auto filled = static_cast<std::int64_t>(bytes.size());
    // Only the last part of a journal can be final.
    part = parse_journal(bytes, offset, complete && offset + filled >= end);
    if (part.next_offset == offset && filled == kReadLimit) {
      part.next_offset = offset + filled;
      part.losses.too_long = filled;
    }
  } else if (complete)
    part.losses.beyond_limit = info.st_size - offset;
  return part;
}

}  // namespace runner::collect
