#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>
#include <thread>
#include <utility>

#include "snapshot/stat_cache.hpp"
#include "snapshot/tree_object.hpp"
#include "support.hpp"

namespace fs = std::filesystem;
using runner::Error;
using runner::ErrorCode;
using runner::Hash;
using namespace runner::test;
using namespace runner::snapshot;

namespace {

Snapshot take_plain(const fs::path& source, MemoryStore& store) {
  return take({.source = source, .data_directory = {}, .stat_cache = {}}, store);
}

void set_times(const fs::path& path, std::int64_t seconds) {
  const std::array<::timespec, 2> times{::timespec{seconds, 1}, ::timespec{seconds, 1}};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) == 0);
}

std::vector<std::string> listing(const MemoryStore& store, const Hash& id) {
  std::vector<std::string> lines;
  for_each_entry(store, id, [&](const Entry& entry) {
    lines.emplace_back(1, static_cast<char>(entry.type)).append(" ").append(entry.path);
  });
  return lines;
}

void make_sample(const fs::path& dir, bool backwards) {
  std::vector<std::pair<std::string, std::string>> files{
      {"train.py", "print(1)"}, {"a/b/c", "deep"}, {"a-b", "sorts between"}, {"a/z", ""}, {"\xff name\n", "bytes"}};
  if (backwards) std::reverse(files.begin(), files.end());
  for (const auto& [path, content] : files) write_file(dir / path, content);
  write_file(dir / "run.sh", "#!/bin/sh\n", 0755);
  fs::create_directories(dir / "empty");
  fs::create_symlink("/nowhere/at/all", dir / "dangling");
}

// The caller's thread reads files as nobody while this lives (root may read everything otherwise).
class AsNobody {
 public:
  AsNobody() { ::syscall(SYS_setfsuid, 65534); }
  ~AsNobody() { ::syscall(SYS_setfsuid, ::geteuid()); }
};

}  // namespace

TEST_CASE("the id depends on nothing but names, types, executable bits and contents") {
  const TempDir one;
  const TempDir two;
  MemoryStore store;
  make_sample(one.path(), false);
  make_sample(two.path() / "elsewhere", true);
  fs::permissions(two.path() / "elsewhere/train.py", fs::perms::owner_read | fs::perms::owner_write);
  set_times(two.path() / "elsewhere/train.py", 1'000'000);
  const Snapshot first = take_plain(one.path(), store);
  CHECK(first.id == take_plain(two.path() / "elsewhere", store).id);
  CHECK(first.files == 7);
  CHECK(first.bytes == 8 + 4 + 13 + 0 + 5 + 10 + 15);
  CHECK(listing(store, first.id) == std::vector<std::string>{"d a", "d a/b", "f a/b/c", "f a/z", "f a-b", "l dangling",
                                                             "d empty", "x run.sh", "f train.py", "f \xff name\n"});
  SECTION("a different content") { write_file(one.path() / "a/b/c", "Deep"); }
  SECTION("a different name") { fs::rename(one.path() / "a/b/c", one.path() / "a/b/d"); }
  SECTION("the executable bit") { fs::permissions(one.path() / "run.sh", fs::perms::owner_read); }
  SECTION("a directory that is gone") { fs::remove(one.path() / "empty"); }
  SECTION("a link's target") {
    fs::remove(one.path() / "dangling");
    fs::create_symlink("/nowhere", one.path() / "dangling");
  }
  CHECK(take_plain(one.path(), store).id != first.id);
}

TEST_CASE("the id of a known tree never changes") {
  const TempDir dir;
  MemoryStore store;
  write_file(dir.path() / "train.py", "print(1)\n");
  fs::create_directories(dir.path() / "data");
  TreeEncoder empty;
  TreeEncoder root;
  root.add("data", EntryType::kDirectory, sha256(empty.bytes()), 0);
  root.add("train.py", EntryType::kFile, sha256("print(1)\n"), 9);
  CHECK(take_plain(dir.path(), store).id == sha256(root.bytes()));
  CHECK(sha256(root.bytes()).hex() == "06f82983f6d34d70f0637a00a31c4424045a5f8709601a72cd5c05d418cbe7da");
}

TEST_CASE("special files are skipped with a warning and never opened") {
  const TempDir dir;
  MemoryStore store;
  write_file(dir.path() / "a", "");
  REQUIRE(::mkfifo((dir.path() / "pipe").c_str(), 0644) == 0);
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ::sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (dir.path() / "sock").c_str(), sizeof address.sun_path - 1);
  REQUIRE(::bind(listener, reinterpret_cast<const ::sockaddr*>(&address), sizeof address) == 0);
  const Snapshot taken = take_plain(dir.path(), store);
  ::close(listener);
  CHECK(taken.files == 1);
  std::vector<std::string> warnings = taken.warnings;
  std::sort(warnings.begin(), warnings.end());
  CHECK(warnings == std::vector<std::string>{"pipe is a FIFO: skipped", "sock is a socket: skipped"});
}

TEST_CASE("every unreadable file is named at once") {
  if (::geteuid() != 0) {
    WARN("needs root to switch the file system user");
    return;
  }
  const TempDir dir;
  fs::permissions(dir.path(), fs::perms::all);
  write_file(dir.path() / "b", "", 0600);
  write_file(dir.path() / "ok", "");
  write_file(dir.path() / "sub/c", "", 0600);
  write_file(dir.path() / "closed/d", "");
  fs::permissions(dir.path() / "closed", fs::perms::owner_all);
  MemoryStore store;
  const AsNobody nobody;
  try {
    take_plain(dir.path(), store);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kPermission);
    CHECK(error.message() == "these files cannot be read: b, closed/, sub/c");
  }
  CHECK(store.commits == 0);
}

TEST_CASE("a file that never rests fails the snapshot and names itself") {
  const TempDir dir;
  const fs::path busy = dir.path() / "busy.log";
  write_file(busy, std::string(3 << 20, 'x'));
  MemoryStore store;
  SECTION("same size") {
    store.during_stream = [&] { std::ofstream(busy, std::ios::binary | std::ios::in) << "y"; };
  }
  SECTION("growing") {
    store.during_stream = [&] { std::ofstream(busy, std::ios::binary | std::ios::app) << std::string(1000, 'y'); };
  }
  SECTION("shrinking") {
    store.during_stream = [&] { fs::resize_file(busy, fs::file_size(busy) - 1000); };
  }
  try {
    take_plain(dir.path(), store);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInvalid);
    CHECK(error.message() == "busy.log: kept changing while it was read");
  }
  CHECK(store.commits == 0);
}

TEST_CASE("a file that changes once while it is read is read again") {
  const TempDir dir;
  const fs::path busy = dir.path() / "busy.log";
  write_file(busy, std::string(3 << 20, 'x'));
  MemoryStore store;
  bool once = true;
  store.during_stream = [&] {
    if (std::exchange(once, false)) std::ofstream(busy, std::ios::binary | std::ios::in) << "y";
  };
  const auto entry = find_entry(store, take_plain(dir.path(), store).id, "busy.log");
  REQUIRE(entry);
  CHECK(store.read_all(entry->content) == runner::test::read_file(busy));
}

TEST_CASE("a file that is being replaced is read whole, before or after") {
  const TempDir dir;
  MemoryStore store;
  const fs::path path = dir.path() / "model.bin";
  write_file(path, std::string(500'000, 'a'));
  std::jthread writer([&](const std::stop_token& stop) {
    for (char letter = 'b'; !stop.stop_requested(); letter = letter == 'b' ? 'a' : 'b') {
      write_file(dir.path() / ".git/new", std::string(500'000, letter));
      fs::rename(dir.path() / ".git/new", path);
    }
  });
  for (int i = 0; i < 50; ++i) {
    const auto entry = find_entry(store, take_plain(dir.path(), store).id, "model.bin");
    REQUIRE(entry);
    const std::string content = store.read_all(entry->content);
    REQUIRE(content.size() == 500'000);
    REQUIRE(content == std::string(500'000, content[0]));
  }
}

TEST_CASE("large trees are read by two threads with the same result") {
  const TempDir dir;
  MemoryStore store;
  for (int i = 0; i < 400; ++i)
    write_file(dir.path() / std::string("d").append(std::to_string(i % 7)) / std::to_string(i), std::to_string(i));
  write_file(dir.path() / "large", std::string(9 << 20, 'z'));
  const Snapshot taken = take_plain(dir.path(), store);
  CHECK(taken.files == 401);
  CHECK(take_plain(dir.path(), store).id == taken.id);
  const auto entry = find_entry(store, taken.id, "d3/10");
  REQUIRE(entry);
  CHECK(store.read_all(entry->content) == "10");
}

TEST_CASE("a thousand nested directories are walked, stored and checked out") {
  const TempDir dir;
  MemoryStore store;
  // Twice as many descriptors would be needed as a process usually has, if each level kept one.
  const fs::path source = dir.path() / "s";
  fs::create_directories(source);
  int fd = ::open(source.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (int depth = 0; depth < 1200; ++depth) {
    REQUIRE(::mkdirat(fd, "d", 0755) == 0);
    REQUIRE(::mkdirat(fd, "e", 0755) == 0);
    const int next = ::openat(fd, "d", O_PATH | O_DIRECTORY | O_CLOEXEC);
    ::close(fd);
    fd = next;
  }
  const int file = ::openat(fd, "bottom", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  ::close(file);
  ::close(fd);
  const Snapshot taken = take_plain(source, store);
  CHECK(taken.files == 1);
  materialize(store, taken.id, dir.path() / "copy");
  CHECK(take_plain(dir.path() / "copy", store).id == taken.id);
}

TEST_CASE("an unchanged tree is not read again") {
  const TempDir dir;
  const TempDir cache;
  MemoryStore store;
  const Options options{.source = dir.path(), .data_directory = {}, .stat_cache = cache.path() / "stat"};
  for (int i = 0; i < 40; ++i) write_file(dir.path() / "d" / std::to_string(i), std::to_string(i));
  const Snapshot first = take(options, store);
  REQUIRE(fs::exists(options.stat_cache));
  struct ::stat before {};
  REQUIRE(::stat(options.stat_cache.c_str(), &before) == 0);
  store.puts = 0;
  CHECK(take(options, store).id == first.id);
  CHECK(store.puts == 0);
  struct ::stat after {};
  REQUIRE(::stat(options.stat_cache.c_str(), &after) == 0);
  CHECK(after.st_ino == before.st_ino);  // nor is the cache written again

  SECTION("a changed file of equal size is, even with its old time") {
    struct ::stat info {};
    REQUIRE(::stat((dir.path() / "d/7").c_str(), &info) == 0);
    write_file(dir.path() / "d/7", "8");
    const std::array<::timespec, 2> times{info.st_atim, info.st_mtim};
    REQUIRE(::utimensat(AT_FDCWD, (dir.path() / "d/7").c_str(), times.data(), 0) == 0);
    const Snapshot changed = take(options, store);
    CHECK(changed.id != first.id);
    CHECK(changed.id == take({.source = dir.path(), .data_directory = {}, .stat_cache = {}}, store).id);
  }
  SECTION("content that the store has lost is stored again") {
    const auto entry = find_entry(store, first.id, "d/7");
    REQUIRE(entry);
    store.forget(entry->content);
    CHECK(take(options, store).id == first.id);
    CHECK(store.contains(entry->content));
  }
  SECTION("another directory's cache is ignored") { CHECK(StatCache(options.stat_cache, "/elsewhere").empty()); }
}

TEST_CASE("a damaged cache is a smaller one and never a wrong one") {
  const TempDir dir;
  const TempDir cache;
  MemoryStore store;
  const Options options{.source = dir.path(), .data_directory = {}, .stat_cache = cache.path() / "stat"};
  for (int i = 0; i < 18; ++i)
    write_file(dir.path() / "a" / std::to_string(i % 3) / std::to_string(i), std::to_string(i));
  fs::create_symlink("target", dir.path() / "link");
  const Snapshot first = take(options, store);
  const std::string good = runner::test::read_file(options.stat_cache);
  store.puts = 0;
  SECTION("each byte changed") {
    for (std::size_t at = 0; at < good.size(); ++at) {
      std::string bytes = good;
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << (at % 8)));
      write_file(options.stat_cache, bytes);
      REQUIRE(take(options, store).id == first.id);
    }
    CHECK(store.puts > 0);
  }
  SECTION("cut off anywhere") {
    for (std::size_t length = 0; length < good.size(); ++length) {
      write_file(options.stat_cache, good.substr(0, length));
      REQUIRE(take(options, store).id == first.id);
      store.puts = 0;
      REQUIRE(take(options, store).id == first.id);
      REQUIRE(store.puts == 0);  // it has been mended
    }
  }
  SECTION("of an older version") {
    write_file(options.stat_cache, "runner stat cache 1\n" + good.substr(20));
    CHECK(StatCache(options.stat_cache, options.source).empty());
    CHECK(take(options, store).id == first.id);
    CHECK(runner::test::read_file(options.stat_cache).starts_with("runner stat cache 2\n"));
  }
  SECTION("with a torn end") {
    write_file(options.stat_cache, good + good.substr(good.size() - 150, 100));
    CHECK(take(options, store).id == first.id);
    write_file(dir.path() / "a/0/new", "new");
    CHECK(take(options, store).id == take_plain(dir.path(), store).id);
  }
  SECTION("no file at all, no directory for it") {
    fs::remove_all(cache.path());
    CHECK(take(options, store).id == first.id);
    fs::create_directories(cache.path());
  }
}

TEST_CASE("a change appends to the cache, and many changes do not make it grow for ever") {
  const TempDir dir;
  const TempDir cache;
  MemoryStore store;
  const Options options{.source = dir.path(), .data_directory = {}, .stat_cache = cache.path() / "stat"};
  for (int i = 0; i < 2000; ++i) write_file(dir.path() / std::to_string(i % 20) / std::to_string(i), std::to_string(i));
  take(options, store);
  const auto whole = fs::file_size(options.stat_cache);
  struct ::stat before {};
  REQUIRE(::stat(options.stat_cache.c_str(), &before) == 0);
  for (int round = 0; round < 60; ++round) {
    write_file(dir.path() / "7/7", "round " + std::to_string(round));
    const Hash id = take(options, store).id;
    REQUIRE(id == take_plain(dir.path(), store).id);
    if (round == 0) {
      struct ::stat after {};
      REQUIRE(::stat(options.stat_cache.c_str(), &after) == 0);
      CHECK(after.st_ino == before.st_ino);
      CHECK(after.st_size > before.st_size);
      CHECK(after.st_size < before.st_size + before.st_size / 10);
    }
  }
  CHECK(fs::file_size(options.stat_cache) < 2 * whole + (512 << 10));
  fs::remove_all(dir.path() / "3");
  fs::create_directories(dir.path() / "21/empty");
  CHECK(take(options, store).id == take_plain(dir.path(), store).id);
  CHECK(take(options, store).id == take_plain(dir.path(), store).id);
}

TEST_CASE("while the store's generation stands nothing is asked for, and when it has changed everything is") {
  const TempDir dir;
  const TempDir cache;
  MemoryStore store;
  store.generation = 5;
  const Options options{.source = dir.path(), .data_directory = {}, .stat_cache = cache.path() / "stat"};
  for (int i = 0; i < 40; ++i) write_file(dir.path() / "d" / std::to_string(i), std::to_string(i));
  const Hash id = take(options, store).id;
  take(options, store);  // what was too young to be trusted the first time is now
  store.asked = store.puts = 0;
  CHECK(take(options, store).id == id);
  CHECK(store.asked == 0);
  CHECK(store.puts == 0);

  const auto lost = find_entry(store, id, "d/7")->content;
  store.forget(lost);
  store.generation = 6;
  CHECK(take(options, store).id == id);
  CHECK(store.contains(lost));
  store.asked = store.puts = 0;
  take(options, store);
  CHECK(take(options, store).id == id);
  CHECK(store.puts == 0);

  const auto tree = find_entry(store, id, "d")->content;
  store.forget(tree);
  store.generation = 7;
  CHECK(take(options, store).id == id);
  CHECK(store.contains(tree));

  store.generation = 0;  // a collection is under way
  store.forget(lost);
  store.forget(id);
  CHECK(take(options, store).id == id);
  CHECK(store.contains(lost));
  CHECK(store.contains(id));
}

TEST_CASE("two snapshots of one tree at once leave a cache that is right") {
  const TempDir dir;
  const TempDir cache;
  MemoryStore store;
  store.generation = 1;
  const Options options{.source = dir.path(), .data_directory = {}, .stat_cache = cache.path() / "stat"};
  for (int i = 0; i < 300; ++i) write_file(dir.path() / std::to_string(i % 9) / std::to_string(i), std::to_string(i));
  for (int round = 0; round < 20; ++round) {
    write_file(dir.path() / std::to_string(round % 9) / "changed", std::to_string(round));
    {
      std::jthread other([&] { take(options, store); });
      take(options, store);
    }
    REQUIRE(take(options, store).id == take_plain(dir.path(), store).id);
  }
}

TEST_CASE("a file changed right after it was read is read again") {
  const TempDir dir;
  const TempDir cache;
  MemoryStore store;
  const Options options{.source = dir.path(), .data_directory = {}, .stat_cache = cache.path() / "stat"};
  for (int i = 0; i < 20; ++i) write_file(dir.path() / std::to_string(i), "same length 0");
  for (char round = '1'; round <= '9'; ++round) {
    write_file(dir.path() / "0", std::string("same length ") + round);
    const auto entry = find_entry(store, take(options, store).id, "0");
    REQUIRE(entry);
    REQUIRE(store.read_all(entry->content).back() == round);
  }
}

TEST_CASE("a checkout is the tree again, with exact modes") {
  const TempDir dir;
  MemoryStore store;
  make_sample(dir.path() / "source", false);
  write_file(dir.path() / "source/setuid", "s", 04755);
  write_file(dir.path() / "source/twin", "print(1)");
  const Snapshot taken = take_plain(dir.path() / "source", store);
  const fs::path target = dir.path() / "target";
  const mode_t old = ::umask(077);
  materialize(store, taken.id, target);
  ::umask(old);
  CHECK(take_plain(target, store).id == taken.id);
  const auto mode = [&](const char* path) {
    struct ::stat info {};
    REQUIRE(::lstat((target / path).c_str(), &info) == 0);
    return info.st_mode & 07777;
  };
  CHECK(mode("train.py") == 0644);
  CHECK(mode("run.sh") == 0755);
  CHECK(mode("setuid") == 0755);
  CHECK(mode("a") == 0755);
  CHECK(mode(".") == 0755);
  CHECK(fs::read_symlink(target / "dangling") == "/nowhere/at/all");
  CHECK(fs::hard_link_count(target / "twin") == 1);
  CHECK(fs::is_empty(target / "empty"));
  SECTION("one that is there already is left alone") {
    write_file(target / "mark", "");
    materialize(store, taken.id, target);
    CHECK(fs::exists(target / "mark"));
  }
  SECTION("one that fails leaves nothing") {
    const auto entry = find_entry(store, taken.id, "train.py");
    store.forget(entry->content);
    CHECK_THROWS_AS(materialize(store, taken.id, dir.path() / "broken"), Error);
    CHECK(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()) == 2);
  }
}

TEST_CASE("a sparse file does not fill the disk") {
  const TempDir dir;
  MemoryStore store;
  const fs::path path = dir.path() / "s/sparse";
  write_file(path, "start");
  fs::resize_file(path, 20 << 20);
  const Snapshot taken = take_plain(dir.path() / "s", store);
  materialize(store, taken.id, dir.path() / "t");
  struct ::stat info {};
  REQUIRE(::stat((dir.path() / "t/sparse").c_str(), &info) == 0);
  CHECK(info.st_size == 20 << 20);
  CHECK(info.st_blocks * 512 < 1 << 20);
  CHECK(take_plain(dir.path() / "t", store).id == taken.id);
}

TEST_CASE("entries are found by path") {
  const TempDir dir;
  MemoryStore store;
  make_sample(dir.path(), false);
  const Hash id = take_plain(dir.path(), store).id;
  CHECK(find_entry(store, id, "a/b/c")->bytes == 4);
  CHECK(find_entry(store, id, "./a//b")->type == EntryType::kDirectory);
  CHECK(find_entry(store, id, "")->content == id);
  CHECK_FALSE(find_entry(store, id, "a/none"));
  CHECK_FALSE(find_entry(store, id, "train.py/x"));
  try {
    find_entry(store, Hash{}, "a");
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kNotFound);
  }
}

TEST_CASE("a damaged tree object is refused") {
  TreeEncoder encoder;
  encoder.add("a", EntryType::kFile, sha256("x"), 1);
  encoder.add("b", EntryType::kDirectory, sha256("y"), 0);
  const std::string good = encoder.bytes();
  CHECK(decode_tree(good).size() == 2);
  CHECK_THROWS_AS(decode_tree("runner tree 2\n"), Error);
  for (std::size_t length = 0; length < good.size(); ++length) {
    const std::string cut = good.substr(0, length);
    if (length == 14 || length == 14 + 3 + 32 + 2) continue;  // whole entries: a shorter tree
    CHECK_THROWS_AS(decode_tree(cut), Error);
  }
  const auto tree_of = [](std::string_view type_and_size, std::string_view name) {
    std::string tree = "runner tree 1\n";
    tree.append(type_and_size).append(" ").append(32, 'h').append(name).append(1, '\0');
    return tree;
  };
  CHECK(decode_tree(tree_of("f1", "ok")).size() == 1);
  for (const std::string_view name : {"", ".", "..", "a/b", "/etc"})
    CHECK_THROWS_AS(decode_tree(tree_of("f1", name)), Error);
  for (const std::string_view start : {"f01", "f-1", "f-0", "d-0", "q1", "d1", "f"})
    CHECK_THROWS_AS(decode_tree(tree_of(start, "a")), Error);
  CHECK_THROWS_AS(encoder.add("a", EntryType::kFile, sha256("x"), 1), Error);
}
