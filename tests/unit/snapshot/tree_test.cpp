// Trees as file systems have them: large, deep, odd, sparse; tar says whether what comes back is the same.
// RUNNER_LONG=1 adds a million files and makes the sparse file 5 GB long.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <clocale>
#include <cstdlib>
#include <cstring>

#include "runner/core/sanitized.hpp"
#include "runner/os/process.hpp"
#include "support.hpp"

namespace fs = std::filesystem;
using runner::Error;
using runner::ErrorCode;
using runner::Hash;
using namespace runner::test;
using namespace runner::snapshot;

namespace {

constexpr bool kMeasuresMemory = !runner::kSanitized;  // the sanitizers' own is a multiple of ours

Options plain(const fs::path& source) { return {.source = source, .data_directory = {}, .stat_cache = {}}; }

Hash id_of(const fs::path& source) {
  ForgetfulStore store;
  return take(plain(source), store).id;
}

// Everything that a snapshot keeps of a tree, as GNU tar sees it.
std::string archive_of(const fs::path& directory) {
  const auto captured = runner::os::capture(
      {.arguments = {"/bin/sh", "-c",
                     "tar -C \"$1\" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --hard-dereference "
                     "-cf - . | sha256sum",
                     "sh", directory.string()},
       .environment = {"PATH=/usr/bin:/bin", "LC_ALL=C"},
       .directory = {},
       .descriptors = {}},
      std::chrono::seconds(300));
  INFO(captured.err);
  REQUIRE(captured.exit_code == 0);
  REQUIRE(captured.err.empty());
  return captured.out;
}

void make_files(const fs::path& directory, int count) {
  fs::create_directories(directory);
  const int at = ::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < count; ++i) {
    const std::string name = "file " + std::to_string(i);
    const int fd = ::openat(at, name.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    if (::write(fd, name.data(), name.size()) != static_cast<ssize_t>(name.size())) throw std::runtime_error(name);
    ::close(fd);
  }
  ::close(at);
}

std::unique_ptr<TempDir> in_memory() {
  return ::access("/dev/shm", W_OK) == 0 ? std::make_unique<TempDir>("/dev/shm") : std::make_unique<TempDir>();
}

class AsNobody {  // the caller's thread and those that it starts; root may read everything otherwise
 public:
  AsNobody() { ::syscall(SYS_setfsuid, 65534); }
  ~AsNobody() { ::syscall(SYS_setfsuid, ::geteuid()); }
};

}  // namespace

TEST_CASE("what comes back is what tar sees in the source") {
  const TempDir dir;
  const fs::path source = dir.path() / "source";
  for (const std::string& name :
       {std::string("plain"), std::string(255, 'n'), std::string("\xff\xfe\x01"), std::string("new\nline"),
        std::string("back\\slash"), std::string(" blank "), std::string("-dash"), std::string("d/e/f/deep")})
    write_file(source / name, "content of " + name);
  write_file(source / "tool.sh", "#!/bin/sh\n", 0755);
  write_file(source / "same as tool, not executable", "#!/bin/sh\n");
  write_file(source / "empty", "");
  write_file(source / "large", std::string(5 << 20, 'x') + "end");
  fs::create_directories(source / "empty directory/another");
  fs::create_symlink("plain", source / "link");
  fs::create_symlink("/nowhere/at/all", source / "dangling");
  fs::create_symlink("d/e", source / "link to a directory");
  fs::create_symlink(std::string(4095, 't'), source / "longest link");
  fs::create_symlink("\xff\n\\", source / "link with odd bytes");
  fs::create_hard_link(source / "plain", source / "d/hard link");
  write_file(source / "sparse", "start");
  fs::resize_file(source / "sparse", 30 << 20);
  MemoryStore store;
  const Snapshot taken = take(plain(source), store);
  CHECK(taken.warnings.empty());
  const fs::path target = dir.path() / "target";
  materialize(store, taken.id, target);
  CHECK(archive_of(target) == archive_of(source));
  CHECK(id_of(target) == taken.id);
  write_file(target / "d/e/f/deep", "else");
  CHECK(archive_of(target) != archive_of(source));
}

TEST_CASE("the id knows neither order, times, owner, umask, locale, links' kind nor place") {
  const TempDir dir;
  const std::vector<std::string> names{"b", "a", "\xc3\xa4", "z", "B", "_", "a.b", "a b", "d/x", "d.x"};
  const auto make = [&](const fs::path& root, bool backwards) {
    std::vector<std::string> order = names;
    if (backwards) std::reverse(order.begin(), order.end());
    for (const std::string& name : order) write_file(root / name, name);
  };
  make(dir.path() / "one", false);
  const Hash id = id_of(dir.path() / "one");
  const fs::path other = dir.path() / "other/place with blanks";
  const mode_t old = ::umask(0077);
  make(other, true);
  ::umask(old);
  CHECK(id_of(other) == id);
  for (const std::string& name : names) {
    const std::array<::timespec, 2> times{::timespec{1, 1}, ::timespec{1'000'000'000, 999'999'999}};
    REQUIRE(::utimensat(AT_FDCWD, (other / name).c_str(), times.data(), 0) == 0);
    if (::geteuid() == 0) REQUIRE(::chown((other / name).c_str(), 65534, 65534) == 0);
  }
  fs::permissions(other / "a", fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_exec);
  CHECK(id_of(other) == id);
  write_file(dir.path() / "copies/1", "same");
  write_file(dir.path() / "copies/2", "same");
  write_file(dir.path() / "hard/1", "same");
  fs::create_hard_link(dir.path() / "hard/1", dir.path() / "hard/2");
  CHECK(id_of(dir.path() / "hard") == id_of(dir.path() / "copies"));
  int locales = 0;
  for (const char* locale : {"C.UTF-8", "en_US.UTF-8", "POSIX"}) {
    if (std::setlocale(LC_ALL, locale) == nullptr) continue;
    ++locales;
    CHECK(id_of(dir.path() / "one") == id);
  }
  std::setlocale(LC_ALL, "C");
  CHECK(locales > 0);
}

TEST_CASE("FIFOs, sockets and devices are told of and never opened") {
  const TempDir dir;
  write_file(dir.path() / "file", "");
  REQUIRE(::mkfifo((dir.path() / "fifo").c_str(), 0644) == 0);
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ::sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (dir.path() / "socket").c_str(), sizeof address.sun_path - 1);
  REQUIRE(::bind(listener, reinterpret_cast<const ::sockaddr*>(&address), sizeof address) == 0);
  std::vector<std::string> expected{"fifo is a FIFO: skipped", "socket is a socket: skipped"};
  if (::mknod((dir.path() / "null").c_str(), S_IFCHR | 0644, ::makedev(1, 3)) == 0)
    expected.insert(expected.begin() + 1, "null is a device: skipped");
  else
    WARN("no device can be made here: FIFOs and sockets only");
  OpenWatch watch({dir.path()});
  MemoryStore store;
  Snapshot taken = take(plain(dir.path()), store);
  ::close(listener);
  std::sort(taken.warnings.begin(), taken.warnings.end());
  CHECK(taken.warnings == expected);
  CHECK(taken.files == 1);
  CHECK(watch.opened() == std::vector<std::string>{".", "file"});
}

TEST_CASE("hundreds of unreadable files are all named, whichever thread meets them") {
  if (::geteuid() != 0) {
    WARN("needs root to switch the file system user");
    return;
  }
  const TempDir dir;
  fs::permissions(dir.path(), fs::perms::all);
  std::vector<std::string> expected;
  for (int i = 1000; i < 1600; ++i) {
    const std::string name = "d" + std::to_string(i % 3) + "/" + std::to_string(i);
    write_file(dir.path() / name, name, i % 2 == 0 ? 0600 : 0644);
    if (i % 2 == 0) expected.push_back(name);
  }
  std::sort(expected.begin(), expected.end());
  std::string message = "these files cannot be read: ";
  for (const std::string& name : expected) message += (name == expected[0] ? "" : ", ") + name;
  const AsNobody nobody;
  try {
    id_of(dir.path());
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kPermission);
    CHECK(error.message() == message);
  }
}

TEST_CASE("a hundred thousand files in one directory cost little memory") {
  const auto dir = in_memory();
  make_files(dir->path(), 100'000);
  const std::int64_t bytes = peak_memory([&] {
    ForgetfulStore store;
    if (take(plain(dir->path()), store).files != 100'000) throw std::runtime_error("files are missing");
  });
  INFO(bytes << " bytes at the peak");
  if (kMeasuresMemory) CHECK(bytes < 60'000'000);
}

TEST_CASE("a huge sparse file costs neither disk nor memory") {
  const TempDir dir;
  const std::int64_t size = std::int64_t{std::getenv("RUNNER_LONG") != nullptr ? 5 : 1} << 30;
  write_file(dir.path() / "sparse", "start");
  fs::resize_file(dir.path() / "sparse", static_cast<std::uintmax_t>(size));
  const std::int64_t bytes = peak_memory([&] {
    ForgetfulStore store;
    if (take(plain(dir.path()), store).bytes != size) throw std::runtime_error("not the whole file");
  });
  INFO(bytes << " bytes at the peak");
  if (kMeasuresMemory) CHECK(bytes < 16'000'000);
}

TEST_CASE("a million files") {
  if (std::getenv("RUNNER_LONG") == nullptr) return;
  const TempDir dir;  // some 5 GB of blocks and inodes: not in memory
  for (int i = 0; i < 1000; ++i) make_files(dir.path() / std::to_string(i), 1000);
  const std::int64_t bytes = peak_memory([&] {
    ForgetfulStore store;
    if (take(plain(dir.path()), store).files != 1'000'000) throw std::runtime_error("files are missing");
  });
  WARN("a million files: " << bytes / 1'000'000 << " MB at the peak");
  if (kMeasuresMemory) CHECK(bytes < 400'000'000);
}
