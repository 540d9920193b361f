#include "runner/pipeline/content_repair.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <system_error>
#include <vector>

#include "runner/core/error.hpp"
#include "runner/os/fd.hpp"
#include "snapshot/tree_object.hpp"
#include "store/digest.hpp"

namespace runner::pipeline {
namespace {

namespace fs = std::filesystem;
using snapshot::EntryType;

constexpr std::size_t kPiece = 256U << 10;

// Nothing for whatever is no regular file (opened without waiting for a FIFO's writer).
os::Fd open_regular(const fs::path& file, struct ::stat& info) {
  os::Fd fd(::open(file.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd || ::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) return {};
  return fd;
}

ReadSome reader_of(const os::Fd& fd, const fs::path& file) {
  return [&fd, &file](std::span<std::byte> out) {
    ssize_t got = 0;
    do got = ::read(fd.get(), out.data(), out.size());
    while (got < 0 && errno == EINTR);
    if (got < 0) throw errno_error(errno, "read " + file.string());
    return static_cast<std::size_t>(got);
  };
}

std::optional<std::string> link_target(const fs::path& link) {
  std::error_code error;
  const fs::path target = fs::read_symlink(link, error);
  if (error) return std::nullopt;
  return target.native();
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

}  // namespace

class ContentRepair::Batch : public ContentBatch {
 public:
  Batch(std::unique_ptr<ContentBatch> batch, const Wanted& wanted) : batch_(std::move(batch)), wanted_(wanted) {}

  Hash put(std::span<const std::byte> content) override {
    const Hash hash = sha256_.of(content);
    return wanted_.contains(hash) ? batch_->put(content) : hash;
  }
  // Large files are offered one by one, under the hash that is wanted.
  Stored put_stream(const ReadSome& read) override {
    store::Sha256::Stream stream(sha256_);
    Stored stored{};
    std::vector<std::byte> buffer(kPiece);
    while (const std::size_t got = read(buffer)) {
      stream.update(std::span(buffer).first(got));
      stored.bytes += static_cast<std::int64_t>(got);
    }
    stored.hash = stream.finish();
    return stored;
  }
  void commit() override { batch_->commit(); }

 private:
  const std::unique_ptr<ContentBatch> batch_;
  const Wanted& wanted_;
  const store::Sha256 sha256_;
};

std::unique_ptr<ContentBatch> ContentRepair::begin() { return std::make_unique<Batch>(store_.begin(), wanted_); }

bool ContentRepair::offer(const fs::path& file, const Hash& content, std::int64_t bytes, EntryType type) {
  const auto batch = store_.begin();  // dropped, with all that was put, unless it is the very content
  if (type == EntryType::kSymlink) {
    const auto target = link_target(file);
    if (!target || batch->put(bytes_of(*target)) != content) return false;
  } else {
    struct ::stat info {};
    const os::Fd fd = open_regular(file, info);
    if (!fd || info.st_size != bytes) return false;
    bool readable = true;  // a bad block of the user's disk: not this file, then
    const auto stored = batch->put_stream([&](std::span<std::byte> out) -> std::size_t {
      try {
        return reader_of(fd, file)(out);
      } catch (const Error&) {
        readable = false;
        return 0;
      }
    });
    if (!readable || stored.hash != content) return false;
  }
  batch->commit();
  return true;
}

void ContentRepair::offer_directory(const fs::path& directory) {
  const auto batch = begin();
  const auto encode = [&batch](const auto& self, const fs::path& at) -> Hash {
    std::vector<fs::path> names;
    for (const auto& entry : fs::directory_iterator(at)) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end(), [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); });
    snapshot::TreeEncoder encoder;
    for (const fs::path& name : names) {
      struct ::stat info {};
      if (::lstat((at / name).c_str(), &info) != 0) continue;
      if (S_ISDIR(info.st_mode)) {
        encoder.add(name.native(), EntryType::kDirectory, self(self, at / name), 0);
      } else if (const auto target = S_ISLNK(info.st_mode) ? link_target(at / name) : std::nullopt) {
        encoder.add(name.native(), EntryType::kSymlink, batch->put(bytes_of(*target)),
                    static_cast<std::int64_t>(target->size()));
      } else if (const os::Fd fd = open_regular(at / name, info)) {
        const auto stored = batch->put_stream(reader_of(fd, at / name));
        encoder.add(name.native(), (info.st_mode & S_IXUSR) != 0 ? EntryType::kExecutable : EntryType::kFile,
                    stored.hash, stored.bytes);
      }
    }
    return batch->put(bytes_of(encoder.bytes()));
  };
  try {
    encode(encode, directory);
  } catch (const fs::filesystem_error&) {  // an adapter's: it is gone by now, or may not be read
    return;
  }
  batch->commit();
}

}  // namespace runner::pipeline
