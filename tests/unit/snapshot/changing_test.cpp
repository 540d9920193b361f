// Files that others write while they are read: a snapshot holds one of the versions that there were, or fails and names
// the file. A writer races the snapshots; nothing in the code under test helps it.
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <future>
#include <random>
#include <set>
#include <thread>

#include "snapshot/directory_entries.hpp"
#include "support.hpp"

namespace fs = std::filesystem;
using runner::Error;
using runner::ErrorCode;
using runner::Hash;
using namespace runner::test;
using namespace runner::snapshot;

namespace {

int rounds() {
  const char* value = std::getenv("RUNNER_RACE_ROUNDS");
  return value != nullptr ? std::atoi(value) : 60;
}

Hash id_of(const fs::path& source) {
  ForgetfulStore store;
  return take({.source = source, .data_directory = {}, .stat_cache = {}}, store).id;
}

// Calls `change(turn)` some moment after each snapshot has begun, in a thread of its own, and checks every snapshot.
void race(const fs::path& source, const std::string& name, const std::set<Hash>& versions,
          const std::function<void(unsigned)>& change) {
  std::atomic<int> started{0};
  std::atomic<bool> over{false};
  std::thread writer([&] {
    std::minstd_rand random(7);  // NOLINT(cert-msc51-cpp): the moments need not surprise anybody
    unsigned turn = 0;
    for (int seen = 0; !over; ++seen) {
      started.wait(seen);
      for (auto count = random() % 3 + 1; count > 0; --count) {
        for (auto idle = random() % 300; idle > 0; --idle) std::this_thread::yield();
        change(turn++);
      }
    }
  });
  std::vector<std::string> wrong;
  for (int round = 0; round < rounds(); ++round) {
    ++started;
    started.notify_all();
    try {
      const Hash id = id_of(source);
      if (!versions.contains(id)) wrong.push_back("a torn snapshot in round " + std::to_string(round));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInvalid || !error.message().starts_with(name)) wrong.push_back(error.message());
    }
  }
  over = true;
  ++started;
  started.notify_all();
  writer.join();
  CHECK(wrong == std::vector<std::string>{});
  CHECK(versions.contains(id_of(source)));  // at rest again
}

// The ids of `source` with the one file holding this and that.
std::set<Hash> ids_with(const fs::path& file, const std::vector<std::string>& contents) {
  std::set<Hash> ids;
  for (const std::string& content : contents) {
    write_file(file, content);
    ids.insert(id_of(file.parent_path()));
  }
  return ids;
}

class File {
 public:
  explicit File(const fs::path& path) : fd_(::open(path.c_str(), O_RDWR | O_CLOEXEC)) { REQUIRE(fd_ >= 0); }
  ~File() { ::close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return fd_; }
  void write_at(std::string_view bytes, std::size_t offset) const {
    if (::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset)) != static_cast<ssize_t>(bytes.size()))
      std::abort();
  }

 private:
  int fd_;
};

constexpr std::size_t kSmall = 700'000;   // one `put`
constexpr std::size_t kLarge = 24 << 20;  // a stream; long enough for one write to be under way when it is opened

}  // namespace

TEST_CASE("a file overwritten in place by one call is never torn") {
  const std::size_t size = GENERATE(kSmall, kLarge);
  const TempDir dir;
  const fs::path path = dir.path() / "busy.bin";
  const std::vector<std::string> versions{std::string(size, 'a'), std::string(size, 'b')};
  const auto ids = ids_with(path, versions);
  const File file(path);
  race(dir.path(), "busy.bin", ids, [&](unsigned turn) { file.write_at(versions[turn % 2], 0); });
}

// A write(2) stamps the file when it begins. One that has begun before the file is opened and goes on while it is read
// (the writer lost its processor, or the kernel makes it wait for the disk) leaves no trace in the stamp. Here a page
// of the writer's buffer is missing until the test supplies it.
TEST_CASE("a write that is under way when the file is opened is waited for") {
  constexpr std::size_t kHalf = 4 << 20;
  const TempDir dir;
  const fs::path path = dir.path() / "busy.bin";
  const auto ids = ids_with(path, {std::string(2 * kHalf, 'a'), std::string(2 * kHalf, 'b')});
  write_file(path, std::string(2 * kHalf, 'a'));
  const int faults = static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC));
  if (faults < 0) {
    WARN("skipped: userfaultfd is for root or where vm.unprivileged_userfaultfd is set");
    return;
  }
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* memory = ::mmap(nullptr, 2 * kHalf, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  REQUIRE(::madvise(memory, 2 * kHalf, MADV_NOHUGEPAGE) == 0);
  char* buffer = static_cast<char*>(memory);
  std::memset(buffer, 'b', kHalf);
  std::memset(buffer + kHalf + page, 'b', kHalf - page);
  ::uffdio_api api{.api = UFFD_API, .features = 0, .ioctls = 0};
  REQUIRE(::ioctl(faults, UFFDIO_API, &api) == 0);
  ::uffdio_register missing{.range = {.start = reinterpret_cast<std::uintptr_t>(buffer + kHalf), .len = page},
                            .mode = UFFDIO_REGISTER_MODE_MISSING,
                            .ioctls = 0};
  REQUIRE(::ioctl(faults, UFFDIO_REGISTER, &missing) == 0);

  const File file(path);
  std::thread writer([&] { file.write_at({buffer, 2 * kHalf}, 0); });
  ::pollfd event{.fd = faults, .events = POLLIN, .revents = 0};
  const int arrived = ::poll(&event, 1, 60'000);  // half is written
  auto taken = std::async(std::launch::async, [&] { return id_of(dir.path()); });
  // Whichever of the snapshot's threads has the file; the writer, whose page is missing, sleeps another sleep.
  const auto one_waits_in_the_kernel = [] {
    for (const auto& task : fs::directory_iterator("/proc/self/task")) {
      std::ifstream stat(task.path() / "stat");
      std::string line;
      std::getline(stat, line);
      const std::size_t name_end = line.rfind(')');
      if (name_end != std::string::npos && line.substr(name_end, 3) == ") D") return true;
    }
    return false;
  };
  // Should the kernel show neither, the write ends all the same: then this run of the test has proved less.
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (taken.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready && !one_waits_in_the_kernel() &&
         std::chrono::steady_clock::now() < give_up) {
  }
  const std::string rest(page, 'b');
  ::uffdio_copy copy{.dst = missing.range.start,
                     .src = reinterpret_cast<std::uintptr_t>(rest.data()),
                     .len = page,
                     .mode = 0,
                     .copy = 0};
  const int supplied = ::ioctl(faults, UFFDIO_COPY, &copy);
  writer.join();
  ::close(faults);
  CHECK(arrived == 1);
  CHECK(supplied == 0);
  CHECK(ids.contains(taken.get()));
  ::munmap(memory, 2 * kHalf);
}

TEST_CASE("a file overwritten while it grows and shrinks is never torn") {
  const TempDir dir;
  const fs::path path = dir.path() / "busy.bin";
  const std::string longer(kLarge, 'a');
  const std::string shorter(kLarge / 3, 'b');
  // Truncated, then written: between the two calls it is whole, and empty.
  const auto ids = ids_with(path, {longer, shorter, ""});
  const File file(path);
  race(dir.path(), "busy.bin", ids, [&](unsigned turn) {
    if (::ftruncate(file.get(), 0) != 0) std::abort();
    file.write_at(turn % 2 == 0 ? longer : shorter, 0);
  });
}

TEST_CASE("a log that others append whole lines to ends with a whole line") {
  const TempDir dir;
  const fs::path path = dir.path() / "busy.bin";
  std::vector<std::string> versions{""};
  for (char letter = 'a'; letter <= 'f'; ++letter) versions.push_back(versions.back() + std::string(500'000, letter));
  const auto ids = ids_with(path, versions);
  const File file(path);
  race(dir.path(), "busy.bin", ids, [&](unsigned turn) {
    const std::size_t at = turn % (versions.size() - 1);
    if (at == 0 && ::ftruncate(file.get(), 0) != 0) std::abort();
    file.write_at(std::string_view(versions[at + 1]).substr(versions[at].size()), versions[at].size());
  });
}

TEST_CASE("what is renamed over a file is there whole") {
  const TempDir dir;
  const TempDir aside;
  const fs::path path = dir.path() / "busy.bin";
  const std::vector<std::string> versions{std::string(kSmall, 'a'), std::string(2 * kSmall, 'b')};
  const auto ids = ids_with(path, versions);
  race(dir.path(), "busy.bin", ids, [&](unsigned turn) {
    write_file(aside.path() / "new", versions[turn % 2]);
    fs::rename(aside.path() / "new", path);
  });
}

TEST_CASE("a file that becomes a link, a FIFO, a directory and a file again is never followed nor waited for") {
  const TempDir dir;
  const TempDir aside;
  const fs::path path = dir.path() / "busy.bin";
  auto ids = ids_with(path, {"a file"});
  fs::remove(path);
  ids.insert(id_of(dir.path()));  // gone, or a FIFO
  const auto become = [&](unsigned turn) {
    fs::remove(path);
    switch (turn % 4) {
      case 0:
        return fs::create_symlink("/etc/passwd", path);
      case 1:
        return write_file(path, "a file");
      case 2:
        if (::mkfifo(path.c_str(), 0644) != 0) std::abort();
        return;
      default:
        fs::create_directory(path);
        return;
    }
  };
  for (const unsigned turn : {0U, 3U}) {
    become(turn);
    ids.insert(id_of(dir.path()));
  }
  race(dir.path(), "busy.bin", ids, become);
}

TEST_CASE("a directory swapped for a link does not lead out of the tree") {
  const TempDir dir;
  const TempDir outside;
  write_file(outside.path() / "secret", "not of this tree");
  write_file(dir.path() / "d/file", "inside");
  std::set<Hash> ids{id_of(dir.path())};
  const fs::path place = dir.path() / "d";
  const fs::path moved = outside.path() / "moved";
  const auto swap = [&](unsigned turn) {
    if (turn % 2 == 0) {
      fs::rename(place, moved);
      fs::create_symlink(outside.path(), place);
    } else {
      fs::remove(place);
      fs::rename(moved, place);
    }
  };
  swap(0);
  ids.insert(id_of(dir.path()));
  fs::remove(place);
  ids.insert(id_of(dir.path()));  // between the two steps
  fs::create_symlink(outside.path(), place);
  swap(1);
  // Emptied under the walk: a directory that another one has been renamed away from cannot look empty.
  race(dir.path(), "d", ids, swap);
}

TEST_CASE("a directory that is removed while it is walked is named") {
  const TempDir dir;
  const fs::path place = dir.path() / "d";
  const fs::path inner = place / "e/file";
  std::set<Hash> ids{id_of(dir.path())};
  for (const char* path : {"d", "d/e"}) {
    fs::create_directories(dir.path() / path);
    ids.insert(id_of(dir.path()));
  }
  for (const char* content : {"inside", ""}) {
    write_file(inner, content);
    ids.insert(id_of(dir.path()));
  }
  race(dir.path(), "d/", ids, [&](unsigned turn) {
    if (turn % 2 == 0)
      fs::remove_all(place);
    else
      write_file(inner, "inside");
  });
}

TEST_CASE("a removed directory says so") {
  const TempDir dir;
  fs::create_directory(dir.path() / "d");
  const int fd = ::open((dir.path() / "d").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  fs::remove(dir.path() / "d");
  try {
    read_entries(fd, "d/");
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInvalid);
    CHECK(error.message() == "d/: changed while the source directory was read");
  }
  ::close(fd);
}

TEST_CASE("files that come and go beside others do not disturb them") {
  const TempDir dir;
  for (int i = 0; i < 50; ++i) write_file(dir.path() / std::to_string(i), "stays");
  std::set<Hash> ids{id_of(dir.path())};
  const fs::path path = dir.path() / "busy.bin";
  write_file(path, "x");
  ids.insert(id_of(dir.path()));
  write_file(path, "");
  ids.insert(id_of(dir.path()));
  race(dir.path(), "busy.bin", ids, [&](unsigned turn) {
    if (turn % 2 == 0)
      fs::remove(path);
    else
      write_file(path, "x");
  });
}
