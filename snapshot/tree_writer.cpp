#include "snapshot/tree_writer.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::snapshot {
namespace {

// A job is small enough that both threads end at about the same time, and large enough that the queue costs nothing.
constexpr std::size_t kJobFiles = 128;
constexpr std::int64_t kJobBytes = 1 << 20;
constexpr std::size_t kQueueJobs = 64;  // each may hold a directory open
// Below this the thread would take longer to start than it saves (as in work_pool.cpp).
constexpr std::int64_t kHelperFiles = 128;
constexpr std::int64_t kHelperBytes = 4 << 20;

constexpr std::size_t kBlock = 65536;  // holes are made of whole blocks of zeros this long
constexpr std::int64_t kDiskBlock = 4096;

bool is_zero(std::span<const std::byte> bytes) {
  return bytes.empty() ||
         (bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

// Writes a file from front to back and leaves holes where there are only zeros, so that a sparse file stays one.
class FileWriter {
 public:
  explicit FileWriter(int fd) : fd_(fd) {}

  void write(std::span<const std::byte> bytes) {
    std::size_t pending = 0;  // bytes at the front that are not written yet: one write for all blocks up to a hole
    while (pending < bytes.size()) {
      const auto block = bytes.subspan(pending, std::min(kBlock, bytes.size() - pending));
      if (block.size() < kBlock || !is_zero(block)) {
        pending += block.size();
        continue;
      }
      put(bytes.first(pending));
      bytes = bytes.subspan(pending + kBlock);
      hole_ += static_cast<off_t>(kBlock);
      pending = 0;
    }
    put(bytes);
  }

  void finish() {
    if (hole_ == 0) return;
    const off_t end = skip_hole();
    if (::ftruncate(fd_, end) != 0) throw errno_error(errno, "write");
  }

 private:
  void put(std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    skip_hole();
    while (!bytes.empty()) {
      const ssize_t wrote = ::write(fd_, bytes.data(), bytes.size());
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) throw errno_error(errno, "write");
      bytes = bytes.subspan(static_cast<std::size_t>(wrote));
    }
  }

  off_t skip_hole() {
    if (hole_ == 0) return 0;
    const off_t at = ::lseek(fd_, hole_, SEEK_CUR);
    if (at < 0) throw errno_error(errno, "write");
    hole_ = 0;
    return at;
  }

  int fd_;
  off_t hole_ = 0;
};

std::int64_t blocks(std::int64_t bytes) { return (bytes + kDiskBlock - 1) / kDiskBlock * kDiskBlock; }

}  // namespace

TreeWriter::TreeWriter(const ContentReader& store, int root) : store_(store) {
  struct ::stat info {};
  if (::fstat(root, &info) != 0) throw errno_error(errno, "stat a new directory");
  chmod_ = (info.st_mode & 0777) != 0755;
  if (chmod_ && ::fchmod(root, 0755) != 0) throw errno_error(errno, "chmod a new directory");
  written_.disk = kDiskBlock;
}

TreeWriter::~TreeWriter() = default;

SharedDirectory TreeWriter::make_directory(const SharedDirectory& parent, const std::string& name,
                                           const std::string& shown) {
  if (::mkdirat(parent->get(), name.c_str(), 0755) != 0) throw errno_error(errno, "mkdir " + shown);
  os::Fd child(::openat(parent->get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!child) throw errno_error(errno, "open " + shown);
  if (chmod_ && ::fchmod(child.get(), 0755) != 0) throw errno_error(errno, "chmod " + shown);
  ++written_.entries;
  written_.disk += kDiskBlock;
  return std::make_shared<const os::Fd>(std::move(child));
}

void TreeWriter::add_tree(SharedDirectory directory, const Hash& tree, const std::string& shown) {
  std::string path = shown;
  fill(std::move(directory), tree, path, 0);
}

// A directory deep down gives its descriptor up while what is in it is made, and gets it back through "..", so that
// depth costs none.
SharedDirectory TreeWriter::fill(SharedDirectory directory, const Hash& tree, std::string& shown, int depth) {
  constexpr int kHeldOpen = 64;  // levels
  std::vector<TreeEntry> entries = decode_tree(store_.read_all(tree));
  for (TreeEntry& entry : entries)
    if (entry.type != EntryType::kDirectory) add_file(directory, std::move(entry), shown);
  flush();
  for (const TreeEntry& entry : entries) {
    if (entry.type != EntryType::kDirectory) continue;
    const std::size_t length = shown.size();
    shown.append(1, '/').append(entry.name);
    SharedDirectory child = make_directory(directory, entry.name, shown);
    if (depth >= kHeldOpen) directory.reset();
    child = fill(std::move(child), entry.content, shown, depth + 1);
    if (!directory) {
      os::Fd again(::openat(child->get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (!again) throw errno_error(errno, "open " + shown + "/..");
      directory = std::make_shared<const os::Fd>(std::move(again));
    }
    shown.resize(length);
  }
  return directory;
}

void TreeWriter::add_file(const SharedDirectory& directory, TreeEntry entry, const std::string& shown) {
  if (gathered_.directory && gathered_.directory != directory) flush();
  if (!gathered_.directory) {
    gathered_.directory = directory;
    gathered_.shown = shown;
  }
  ++written_.entries;
  written_.bytes += entry.bytes;
  written_.disk += entry.type == EntryType::kSymlink ? 0 : blocks(entry.bytes);
  gathered_.bytes += entry.bytes;
  gathered_.entries.push_back(std::move(entry));
  if (gathered_.entries.size() >= kJobFiles || gathered_.bytes >= kJobBytes) flush();
}

void TreeWriter::flush() {
  if (gathered_.directory) hand_out(std::exchange(gathered_, Job{}));
}

void TreeWriter::hand_out(Job job) {
  backlog_files_ += static_cast<std::int64_t>(job.entries.size());
  backlog_bytes_ += job.bytes;
  if (!helper_.joinable() && (backlog_files_ > kHelperFiles || backlog_bytes_ > kHelperBytes)) {
    helper_ = std::jthread([this](const std::stop_token& stop) { help(stop); });
    ::pthread_setname_np(helper_.native_handle(), "snapshot-writer");
  }
  bool full = false;
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    full = jobs_.size() >= kQueueJobs;
  }
  changed_.notify_all();
  rethrow_failure();
  if (full) run_one();
}

void TreeWriter::rethrow_failure() {
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
}

void TreeWriter::help(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return !jobs_.empty(); })) {
    if (stop.stop_requested() || failure_) return;
    const Job job = std::move(jobs_.front());
    jobs_.pop_front();
    helper_busy_ = true;
    lock.unlock();
    std::exception_ptr failure;
    try {
      run(job);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    helper_busy_ = false;
    if (failure && !failure_) failure_ = failure;
    changed_.notify_all();
  }
}

bool TreeWriter::run_one() {
  Job job;
  {
    const std::lock_guard lock(mutex_);
    if (jobs_.empty()) return false;
    job = std::move(jobs_.front());
    jobs_.pop_front();
  }
  run(job);
  return true;
}

Written TreeWriter::finish() {
  flush();
  while (run_one()) rethrow_failure();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !helper_busy_; });
  if (failure_) std::rethrow_exception(failure_);
  return written_;
}

void TreeWriter::run(const Job& job) {
  for (const TreeEntry& entry : job.entries) {
    try {
      if (entry.type != EntryType::kSymlink)
        write_file(job, entry);
      else if (::symlinkat(store_.read_all(entry.content).c_str(), job.directory->get(), entry.name.c_str()) != 0)
        throw errno_error(errno, "symlink");
    } catch (const Error& error) {
      throw error.within(job.shown + "/" + entry.name);
    }
  }
}

void TreeWriter::write_file(const Job& job, const TreeEntry& entry) const {
  const mode_t mode = entry.type == EntryType::kExecutable ? 0755 : 0644;
  const os::Fd fd(
      ::openat(job.directory->get(), entry.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!fd) throw errno_error(errno, "create");
  if (chmod_ && ::fchmod(fd.get(), mode) != 0) throw errno_error(errno, "chmod");
  if (entry.bytes == 0) return;
  FileWriter writer(fd.get());
  store_.read(entry.content, 0, -1, [&writer](std::span<const std::byte> piece) { writer.write(piece); });
  writer.finish();
}

}  // namespace runner::snapshot
