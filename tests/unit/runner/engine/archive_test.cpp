// The tar command is the oracle: what it packs is what the Engine's archive API sends.
#include "runner/engine/archive.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <random>

#include "runner/os/file.hpp"
#include "runner/os/process.hpp"

namespace runner::engine {
namespace {

struct Scratch {
  std::filesystem::path path;
  Scratch() {
    std::string pattern = (std::filesystem::temp_directory_path() / "runner-archive-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~Scratch() { os::remove_tree(path); }
  std::string tar(const std::vector<std::string>& options, const std::string& name) const {
    std::vector<std::string> arguments{"/bin/tar", "-C", path.string(), "-cf", (path / ".tar").string()};
    arguments.insert(arguments.end(), options.begin(), options.end());
    arguments.push_back(name);
    const auto packed =
        os::capture({.arguments = arguments, .environment = {"PATH=/usr/bin:/bin"}}, std::chrono::seconds(60));
    REQUIRE(packed.exit_code == 0);
    return os::read_file(path / ".tar");
  }
  std::string tar(const std::string& name) const { return tar({}, name); }
};

}  // namespace

TEST_CASE("an empty directory holds nothing, any other something") {
  const Scratch scratch;
  os::make_directories(scratch.path / "empty");
  os::make_directories(scratch.path / "full/below");
  const auto empty = read_archived_path(scratch.tar("empty"));
  REQUIRE(empty);
  CHECK(empty->directory);
  CHECK_FALSE(empty->holds_something);
  const auto full = read_archived_path(scratch.tar("full"));
  REQUIRE(full);
  CHECK(full->directory);
  CHECK(full->holds_something);
}

TEST_CASE("a file comes with its content, in whatever dialect of tar") {
  const Scratch scratch;
  const std::string content = "root:x:0:0::/root:/bin/sh\n" + std::string(20'000, 'x') + std::string("\0end", 4);
  std::ofstream(scratch.path / "passwd", std::ios::binary) << content;
  const std::string format = GENERATE("gnu", "pax", "ustar", "v7");
  const auto file = read_archived_path(scratch.tar({"--format=" + format}, "passwd"));
  REQUIRE(file);
  CHECK_FALSE(file->directory);
  CHECK(file->content == content);
}

TEST_CASE("a name longer than a header is no entry of its own") {
  const Scratch scratch;
  const std::string name(200, 'n');
  os::make_directories(scratch.path / name);
  const auto directory = read_archived_path(scratch.tar({"--format=gnu"}, name));
  REQUIRE(directory);
  CHECK(directory->directory);
  CHECK_FALSE(directory->holds_something);
}

TEST_CASE("a link is neither a directory nor a file with content") {
  const Scratch scratch;
  std::filesystem::create_symlink("/etc/shadow", scratch.path / "link");
  const auto link = read_archived_path(scratch.tar("link"));
  REQUIRE(link);
  CHECK_FALSE(link->directory);
  CHECK(link->content.empty());
}

TEST_CASE("a stream that was cut short counts as far as it goes") {
  const Scratch scratch;
  std::string content;
  for (int i = 0; i < 20'000; ++i) content += std::to_string(i) + "\n";
  std::ofstream(scratch.path / "file") << content;
  const std::string whole = scratch.tar("file");
  const auto file = read_archived_path(whole.substr(0, 64 << 10));
  REQUIRE(file);
  CHECK(content.starts_with(file->content));
  CHECK_FALSE(read_archived_path(whole.substr(0, 100)));
  os::make_directories(scratch.path / "full");
  for (int i = 0; i < 200; ++i) std::ofstream(scratch.path / "full" / std::to_string(i)) << "x";
  const auto full = read_archived_path(scratch.tar("full").substr(0, 4096));
  REQUIRE(full);
  CHECK(full->holds_something);
}

TEST_CASE("what is no tar archive is nothing") {
  CHECK_FALSE(read_archived_path(""));
  CHECK_FALSE(read_archived_path("<html>"));
  CHECK_FALSE(read_archived_path(std::string(1024, '\0')));
  CHECK_FALSE(read_archived_path(std::string(4096, 'x')));
  const Scratch scratch;
  os::make_directories(scratch.path / "empty");
  std::string damaged = scratch.tar("empty");
  damaged[148] = '7';  // its checksum
  damaged[149] = '7';
  CHECK_FALSE(read_archived_path(damaged));
}

TEST_CASE("a file made of holes gives no more than was sent") {
  const Scratch scratch;
  std::ofstream(scratch.path / "holes") << "x";
  std::filesystem::resize_file(scratch.path / "holes", std::uintmax_t{3} << 30);
  const std::string tar = scratch.tar({"--sparse"}, "holes");
  REQUIRE(tar.size() < 100'000);
  const auto holes = read_archived_path(tar);
  REQUIRE(holes);
  CHECK(holes->content.size() <= tar.size());
}

TEST_CASE("hostile bytes do no harm") {
  const Scratch scratch;
  std::ofstream(scratch.path / "file") << "content\n";
  const std::string tar = scratch.tar({"--format=pax"}, "file");
  std::mt19937 random(1);  // always the same ones
  std::size_t read = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = tar;
    for (int i = 0; i < 4; ++i) bytes[random() % 2048] = static_cast<char>(random());
    if (const auto path = read_archived_path(bytes)) {
      ++read;
      CHECK(path->content.size() <= bytes.size());
    }
  }
  CHECK(read > 0);
}

}  // namespace runner::engine
