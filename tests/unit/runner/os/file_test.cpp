#include <catch2/catch.hpp>

#include <fcntl.h>
#include <grp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <thread>
#include <vector>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace os = runner::os;
using runner::Error;
using runner::ErrorCode;

namespace {

struct Directory {
  std::filesystem::path path;
  Directory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "runner-unit-XXXXXX").string();
    path = ::mkdtemp(pattern.data());
  }
  ~Directory() { os::remove_tree(path); }
};

}  // namespace

TEST_CASE("a tree is removed however deep it is, with few descriptors, and though its owner closed it") {
  const Directory directory;
  const auto tree = directory.path / "tree";
  std::filesystem::create_directory(tree);
  constexpr int kLevels = 1000;  // more than the descriptors it is given below
  int here = ::open(tree.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < kLevels; ++i) {
    REQUIRE(::mkdirat(here, i % 3 == 0 ? "deep-1" : "d", 0700) == 0);
    const int below = ::openat(here, i % 3 == 0 ? "deep-1" : "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int file = ::openat(below, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0);
    ::close(file);
    if (i % 100 == 0) ::fchmod(here, 0500);
    ::close(here);
    here = below;
  }
  ::fchmod(here, 0);
  ::close(here);
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit few{128, limit.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &few);
  os::remove_tree(tree);
  ::setrlimit(RLIMIT_NOFILE, &limit);
  CHECK_FALSE(std::filesystem::exists(tree));
}

TEST_CASE("a published file is there whole, with its mode, and leaves no temporary behind") {
  const Directory directory;
  os::publish_file(directory.path / "a", "one", os::Durability::kDurable, 0640);
  os::publish_file(directory.path / "a", "two", os::Durability::kAtomic, 0640);
  CHECK(os::read_file(directory.path / "a") == "two");
  CHECK((std::filesystem::status(directory.path / "a").permissions() & std::filesystem::perms::others_all) ==
        std::filesystem::perms::none);
  CHECK(std::distance(std::filesystem::directory_iterator(directory.path), std::filesystem::directory_iterator{}) == 1);
}

TEST_CASE("of many who publish once exactly one wins, and its content stays") {
  const Directory directory;
  std::atomic<int> winners{0};
  std::string winner;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&, i] {
        if (os::publish_file_once(directory.path / "claim", std::to_string(i))) {
          ++winners;
          winner = std::to_string(i);
        }
      });
  }
  CHECK(winners == 1);
  CHECK(os::read_file(directory.path / "claim") == winner);
}

TEST_CASE("publishing into a missing directory fails with its path and leaves nothing") {
  const Directory directory;
  try {
    os::publish_file(directory.path / "no" / "a", "x", os::Durability::kAtomic);
    FAIL("published");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kNotFound);
    CHECK(error.message().find(directory.path.string()) != std::string::npos);
  }
}

TEST_CASE("a file longer than its limit is refused, a missing one is nothing") {
  const Directory directory;
  os::publish_file(directory.path / "a", std::string(100, 'x'), os::Durability::kAtomic);
  CHECK_THROWS_AS(os::read_file(directory.path / "a", 10), Error);
  CHECK_FALSE(os::read_file_if_exists(directory.path / "b"));
}

TEST_CASE("a tree is removed whatever a script left in it, and links are not followed") {
  const Directory directory;
  const auto outside = directory.path / "outside";
  std::filesystem::create_directories(outside);
  os::publish_file(outside / "keep", "", os::Durability::kAtomic);
  const auto tree = directory.path / "tree";
  std::filesystem::create_directories(tree / "a" / "b");
  std::filesystem::create_directory_symlink(outside, tree / "a" / "link");
  REQUIRE(::mkfifo((tree / "fifo").c_str(), 0600) == 0);
  std::filesystem::path deep = tree;
  for (int i = 0; i < 200; ++i) deep /= "d";
  std::filesystem::create_directories(deep);
  REQUIRE(::chmod((tree / "a").c_str(), 0) == 0);
  os::remove_tree(tree);
  CHECK_FALSE(std::filesystem::exists(tree));
  CHECK(std::filesystem::exists(outside / "keep"));
  os::remove_tree(tree);  // missing is fine
}

TEST_CASE("somebody else's directory goes with the tree if it is empty, and is named if it is not") {
  if (::geteuid() != 0) {
    WARN("skipped: only root can make another user's directory");
    return;
  }
  constexpr uid_t kNobody = 65534;
  const Directory directory;
  REQUIRE(::chmod(directory.path.c_str(), 0777) == 0);
  // As the kernel leaves an overlay's work directory that an engine mounted as root for an ordinary user.
  const auto work = directory.path / "work";
  std::filesystem::create_directories(work / "work");
  const bool occupied = GENERATE(false, true);
  if (occupied) os::publish_file(work / "work" / "mark", "", os::Durability::kAtomic);
  REQUIRE(::chmod((work / "work").c_str(), 0) == 0);
  REQUIRE(::chmod(work.c_str(), 0700) == 0);
  REQUIRE(::chown(work.c_str(), kNobody, kNobody) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgroups(0, nullptr) != 0 || ::setgid(kNobody) != 0 || ::setuid(kNobody) != 0) ::_exit(9);
    try {
      os::remove_tree(work);
      ::_exit(0);
    } catch (const Error& error) {
      ::_exit(error.code() == ErrorCode::kPermission ? 1 : 2);
    }
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == (occupied ? 1 : 0));
  CHECK(std::filesystem::exists(work) == occupied);
}

TEST_CASE("directories are made with their parents, and a file in the way is an error") {
  const Directory directory;
  os::make_directories(directory.path / "a" / "b" / "c");
  os::make_directories(directory.path / "a" / "b" / "c");
  CHECK(std::filesystem::is_directory(directory.path / "a" / "b" / "c"));
  os::publish_file(directory.path / "file", "", os::Durability::kAtomic);
  CHECK_THROWS_AS(os::make_directories(directory.path / "file"), Error);
}
