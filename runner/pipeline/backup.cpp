#include "runner/pipeline/backup.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <system_error>
#include <vector>

#include "runner/core/error.hpp"
#include "runner/core/time.hpp"
#include "runner/os/file.hpp"
#include "store/backup.hpp"

namespace runner::pipeline {
namespace {

constexpr std::size_t kBlock = 512;              // of a tar archive
constexpr std::size_t kPiece = 4 << 20;          // bytes copied at once
constexpr std::int64_t kFreed = 64 << 20;        // bytes that a copy is freed of at once
constexpr std::int64_t kOctalLimit = 1LL << 33;  // of a size in eleven octal digits

// A file that goes when this does, unless it has been published.
class Unfinished {
 public:
  explicit Unfinished(std::filesystem::path path)
      : path_(std::move(path)), fd_(os::open_file(path_, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600)) {
    if (::fchmod(fd_.get(), 0600) != 0) throw errno_error(errno, "chmod " + path_.string());  // one that was left over
  }
  ~Unfinished() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;

  const std::filesystem::path& path() const { return path_; }
  int fd() const { return fd_.get(); }
  std::int64_t size() const {
    struct ::stat info {};
    if (::fstat(fd_.get(), &info) != 0) throw errno_error(errno, "read " + path_.string());
    return info.st_size;
  }

  void publish(const std::filesystem::path& as) {
    if (::fsync(fd_.get()) != 0) throw errno_error(errno, "sync " + path_.string());
    if (::rename(path_.c_str(), as.c_str()) != 0) throw errno_error(errno, "rename to " + as.string());
    path_.clear();
    const os::Fd directory = os::open_file(as.parent_path(), O_RDONLY | O_DIRECTORY);
    if (::fsync(directory.get()) != 0) throw errno_error(errno, "sync " + as.parent_path().string());
  }

 private:
  std::filesystem::path path_;
  os::Fd fd_;
};

void put_octal(char* field, std::size_t width, std::int64_t value) {
  std::snprintf(field, width, "%0*llo", static_cast<int>(width - 1), static_cast<unsigned long long>(value));
}

// A header of POSIX' ustar; a size beyond its digits as GNU tar writes it, in binary.
std::array<char, kBlock> tar_header(const std::string& name, std::int64_t size, UtcTime time) {
  std::array<char, kBlock> header{};
  char* at = header.data();
  std::memcpy(at, name.data(), std::min<std::size_t>(name.size(), 100));
  put_octal(at + 100, 8, 0600);
  put_octal(at + 108, 8, 0);
  put_octal(at + 116, 8, 0);
  if (size < kOctalLimit) {
    put_octal(at + 124, 12, size);
  } else {
    at[124] = static_cast<char>(0x80);
    for (int i = 0; i < 8; ++i) at[135 - i] = static_cast<char>((size >> (8 * i)) & 0xff);
  }
  put_octal(at + 136, 12, std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count());
  std::memset(at + 148, ' ', 8);
  at[156] = '0';
  std::memcpy(at + 257, "ustar\00000", 8);
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  std::snprintf(at + 148, 8, "%06o", sum);
  return header;
}

class Archive {
 public:
  Archive(const Unfinished& file, UtcTime time) : file_(file), time_(time) {}

  void add(const std::string& name, const std::string& content) {
    begin(name, static_cast<std::int64_t>(content.size()));
    write(content);
    pad(content.size());
  }

  // The copy is freed as it is read: the disk need not hold both.
  void add(const std::string& name, const Unfinished& copy, const Doing& doing) {
    const std::int64_t size = copy.size();
    begin(name, size);
    std::vector<char> piece(kPiece);
    std::int64_t freed = 0;
    for (std::int64_t done = 0; done < size;) {
      const ssize_t got = ::pread(copy.fd(), piece.data(), piece.size(), done);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) throw errno_error(got < 0 ? errno : EIO, "read " + copy.path().string());
      write({piece.data(), static_cast<std::size_t>(got)});
      done += got;
      if (done - freed >= kFreed) {
        // Where holes cannot be made it takes more room for a while.
        static_cast<void>(::fallocate(copy.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, freed, done - freed));
        freed = done;
      }
      doing("writing " + name);
    }
    pad(static_cast<std::size_t>(size % static_cast<std::int64_t>(kBlock)));
  }

  void finish() { write(std::string(2 * kBlock, '\0')); }

 private:
  void begin(const std::string& name, std::int64_t size) {
    const auto header = tar_header(name, size, time_);
    write({header.data(), header.size()});
  }
  void pad(std::size_t size) {
    if (const std::size_t rest = size % kBlock; rest != 0) write(std::string(kBlock - rest, '\0'));
  }
  void write(std::string_view bytes) { os::write_all(file_.fd(), bytes, file_.path().string()); }

  const Unfinished& file_;
  const UtcTime time_;
};

bool is_within(const std::filesystem::path& directory, const std::filesystem::path& home) {
  const auto [end, ignored] = std::mismatch(home.begin(), home.end(), directory.begin(), directory.end());
  return end == home.end();
}

void check_place(const std::filesystem::path& file, const std::filesystem::path& home) {
  std::error_code error;
  if (!file.has_filename()) throw Error(ErrorCode::kInvalid, "backup: " + file.string() + " names no file");
  const auto directory = std::filesystem::canonical(file.parent_path(), error);
  if (error) throw errno_error(error.value(), "open " + file.parent_path().string());
  if (is_within(directory, std::filesystem::canonical(home, error)))
    throw Error(ErrorCode::kInvalid, "backup: " + file.string() + " is within what is to be backed up",
                "name a place outside of " + home.string());
  const auto there = std::filesystem::symlink_status(file, error);
  if (std::filesystem::exists(there) && !std::filesystem::is_regular_file(there))
    throw Error(ErrorCode::kInvalid, "backup: " + file.string() + " is there, and no file");
}

}  // namespace

BackedUp back_up(const os::DataDirectory& data, const std::filesystem::path& file, const Doing& doing) {
  check_place(file, data.home());
  const std::string begin = ".tmp-" + file.filename().string();
  const auto beside = [&](const char* what) { return file.parent_path() / (begin + what); };
  const UtcTime now = utc_now();
  const store::Backup source(data.history_database(), data.content_database());
  Unfinished archive(beside(""));
  Archive writing(archive, now);
  writing.add("backup.json", "{\"version\": 1, \"createdTimeUtc\": \"" + to_iso8601(now) + "\", \"runner\": \"" +
                                 RUNNER_VERSION "\"}\n");
  const auto tick = [&doing](const char* what) {
    return [&doing, what](std::int64_t done, std::int64_t all) {
      doing(std::string("copying ") + what + ", " + std::to_string(all > 0 ? 100 * done / all : 100) + " %");
    };
  };
  BackedUp made;
  {
    const Unfinished copy(beside("-history"));
    source.copy_history(copy.path(), tick("the history"));
    made.history_bytes = copy.size();
    writing.add("runner.db", copy, doing);
  }
  {
    const Unfinished copy(beside("-contents"));
    source.copy_content(copy.path(), tick("contents"));
    made.content_bytes = copy.size();
    writing.add("content.db", copy, doing);
  }
  writing.finish();
  made.bytes = archive.size();
  archive.publish(file);
  return made;
}

}  // namespace runner::pipeline
