#include "runner/cli/download.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "runner/os/file.hpp"

using namespace runner::cli;

TEST_CASE("only names that stay inside the directory are safe") {
  for (const char* name : {"outputs/a", "outputs/sub/b c", "logs/..a", "a", "outputs/ä", "outputs/a\nb"})
    CHECK(is_safe_name(name));
  for (const char* name : {"", "/etc/passwd", "../a", "a/../../b", "a/..", "a//b", "a/", "./a", "a/./b"}) {
    INFO(name);
    CHECK_FALSE(is_safe_name(name));
  }
  CHECK_FALSE(is_safe_name(std::string_view("a\0b", 3)));
}

TEST_CASE("a wanted name covers the file and everything below the directory") {
  CHECK(covers("outputs/a", "outputs/a"));
  CHECK(covers("outputs", "outputs/a/b"));
  CHECK(covers("outputs/", "outputs/a"));
  CHECK_FALSE(covers("outputs/a", "outputs/ab"));
  CHECK_FALSE(covers("out", "outputs/a"));
}

TEST_CASE("a downloaded file appears only when it is complete, and replaces what was there") {
  std::string pattern = "/tmp/download_test.XXXXXX";
  const std::filesystem::path directory = ::mkdtemp(pattern.data());
  const auto target = directory / "outputs" / "deep" / "model.bin";
  {
    DownloadedFile dropped(target);
    dropped.write("half");
  }
  CHECK_FALSE(std::filesystem::exists(target));
  CHECK(std::filesystem::is_empty(target.parent_path()));
  for (const char* content : {"first", "second, longer"}) {
    DownloadedFile file(target);
    file.write(content);
    CHECK(file.bytes() == static_cast<std::int64_t>(std::string(content).size()));
    file.publish();
    CHECK(runner::os::read_file(target) == content);
  }
  std::filesystem::remove_all(directory);
}
