#include "snapshot/index_paths.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "runner/os/fd.hpp"

namespace runner::snapshot {
namespace {

constexpr std::size_t kLimit = std::size_t{512} << 20;  // bytes; some five million files
constexpr std::size_t kHeader = 12;                     // "DIRC", version, number of entries
constexpr std::size_t kTrailer = 20;                    // git's hash of the file, which git does not check either
constexpr std::size_t kFixed = 62;                      // of an entry, before its name (versions 2 and 4)
constexpr std::size_t kPathLimit = 65'536;              // bytes of one path: version 4's could add up to anything
constexpr std::uint32_t kExtended = 0x4000;             // flag: two more bytes of flags follow
constexpr std::uint32_t kTypeMask = 0170000;
constexpr std::uint32_t kDirectory = 0040000;  // of a sparse index
constexpr std::uint32_t kRepository = 0160000;

std::uint32_t number(const char* at, int bytes) {
  std::uint32_t value = 0;
  for (int i = 0; i < bytes; ++i) value = value << 8 | static_cast<unsigned char>(at[i]);
  return value;
}

// Nothing: it cannot be read, or is no regular file.
std::optional<std::vector<char>> read_file(const std::filesystem::path& file) {
  const os::Fd fd(::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  if (!fd) return errno == ENOENT ? std::optional<std::vector<char>>(std::in_place) : std::nullopt;
  struct ::stat info {};
  if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_size > static_cast<off_t>(kLimit))
    return std::nullopt;
  std::vector<char> content(static_cast<std::size_t>(info.st_size));
  for (std::size_t filled = 0; filled < content.size();) {
    const ssize_t got = ::read(fd.get(), content.data() + filled, content.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return std::nullopt;
    filled += static_cast<std::size_t>(got);
  }
  return content;
}

class Parser {
 public:
  Parser(std::vector<char> content, std::string_view prefix) : content_(std::move(content)), prefix_(prefix) {}

  bool parse() {
    if (content_.size() < kHeader + kTrailer || std::memcmp(content_.data(), "DIRC", 4) != 0) return false;
    version_ = number(content_.data() + 4, 4);
    const std::size_t count = number(content_.data() + 8, 4);
    end_ = content_.size() - kTrailer;
    if (version_ < 2 || version_ > 4 || count > (end_ - kHeader) / kFixed) return false;
    if (prefix_.empty()) result_.paths.reserve(count);
    for (std::size_t i = 0; i < count; ++i)
      if (!entry()) return false;
    if (!extensions()) return false;
    if (version_ == 4)
      result_.bytes = std::move(expanded_);
    else
      result_.bytes = std::move(content_);
    return true;
  }

  IndexPaths take() { return std::move(result_); }

 private:
  bool entry() {
    if (end_ - at_ < kFixed + 2) return false;
    const char* const fixed = content_.data() + at_;
    const std::uint32_t type = number(fixed + 24, 4) & kTypeMask;
    if (type == kDirectory) return false;
    std::size_t name = at_ + kFixed;
    if ((number(fixed + 60, 2) & kExtended) != 0) {
      if (version_ == 2) return false;
      name += 2;
    }
    TrackedPaths::Path path{.at = 0, .length = 0, .repository = type == kRepository};
    std::size_t kept = 0;
    if (version_ == 4 && !take_kept(name, kept)) return false;
    if (name >= end_) return false;
    const void* const zero = std::memchr(content_.data() + name, 0, end_ - name);
    if (zero == nullptr) return false;
    const auto length = static_cast<std::size_t>(static_cast<const char*>(zero) - (content_.data() + name));
    if (kept + length > kPathLimit || kept + length == 0) return false;
    if (version_ == 4) {
      previous_.resize(kept);
      previous_.append(content_.data() + name, length);
      at_ = name + length + 1;
      if (!previous_.starts_with(prefix_)) return true;
      path.at = static_cast<std::uint32_t>(expanded_.size());
      path.length = static_cast<std::uint32_t>(previous_.size());
      if (expanded_.size() + previous_.size() > UINT32_MAX) return false;
      expanded_.insert(expanded_.end(), previous_.begin(), previous_.end());
    } else {
      path.at = static_cast<std::uint32_t>(name);
      path.length = static_cast<std::uint32_t>(length);
      at_ += (name - at_ + length + 8) & ~std::size_t{7};  // one to eight zeros behind the name
      if (at_ > end_) return false;
      if (!std::string_view(content_.data() + name, length).starts_with(prefix_)) return true;
    }
    result_.paths.push_back(path);
    return true;
  }

  // Version 4: how much of the previous path goes, in git's variable-length numbers; what is kept of it.
  bool take_kept(std::size_t& name, std::size_t& kept) const {
    std::size_t dropped = 0;
    for (int digit = 0;; ++digit) {
      if (name >= end_ || digit > 4) return false;
      const auto byte = static_cast<unsigned char>(content_[name++]);
      dropped = (digit == 0 ? 0 : (dropped + 1) << 7) + (byte & 127);
      if ((byte & 128) == 0) break;
    }
    if (dropped > previous_.size()) return false;
    kept = previous_.size() - dropped;
    return true;
  }

  // Those whose names start in a small letter must be understood: "link" (split), "sdir" (sparse), and what is to come.
  bool extensions() {
    while (end_ - at_ >= 8) {
      const char* const header = content_.data() + at_;
      const std::size_t size = number(header + 4, 4);
      if (header[0] >= 'a' && header[0] <= 'z') return false;
      if (size > end_ - at_ - 8) return false;
      at_ += 8 + size;
    }
    return at_ == end_;
  }

  std::vector<char> content_;
  std::string_view prefix_;
  std::uint32_t version_ = 0;
  std::size_t at_ = kHeader;
  std::size_t end_ = 0;
  std::string previous_;        // version 4: the path before
  std::vector<char> expanded_;  // version 4: whole paths
  IndexPaths result_;
};

}  // namespace

std::optional<IndexPaths> read_index_paths(const std::filesystem::path& file, std::string_view prefix) {
  auto content = read_file(file);
  if (!content) return std::nullopt;
  if (content->empty()) return IndexPaths{};
  Parser parser(std::move(*content), prefix);
  if (!parser.parse()) return std::nullopt;
  return parser.take();
}

}  // namespace runner::snapshot
