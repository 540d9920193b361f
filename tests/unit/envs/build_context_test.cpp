// The oracle of the stream is the tar command.
#include "envs/build_context.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include "runner/core/error.hpp"
#include "runner/os/fd.hpp"
#include "runner/os/file.hpp"
#include "runner/os/process.hpp"

namespace runner::envs {
namespace {

using Catch::Matchers::Contains;
namespace fs = std::filesystem;
using Names = std::vector<std::string>;

struct Directory {
  fs::path base;
  fs::path path;
  Directory() {
    std::string pattern = (fs::temp_directory_path() / "runner-context-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    base = pattern;
    path = base / "context";
    os::make_directories(path);
  }
  ~Directory() { os::remove_tree(base); }
  void write(const std::string& name, const std::string& text, mode_t mode = 0644) const {
    os::make_directories((path / name).parent_path(), 0755);
    std::ofstream(path / name, std::ios::binary) << text;
    ::chmod((path / name).c_str(), mode);
  }
  fs::path memo() const { return base / "memo"; }
};

std::string stream_of(const BuildContext& context, const std::string& expected = "", std::size_t piece = 70'000) {
  const ReadSome read = context.reader(expected);
  std::string tar;
  std::string buffer(piece, '\0');
  while (const std::size_t got = read(std::as_writable_bytes(std::span(buffer)))) tar.append(buffer, 0, got);
  return tar;
}

std::string tar_says(const Directory& directory, const std::string& tar, Names options) {
  std::ofstream(directory.base / "tar", std::ios::binary) << tar;
  Names arguments{"/bin/tar", "--numeric-owner", "-f", (directory.base / "tar").string()};
  arguments.insert(arguments.end(), options.begin(), options.end());
  const auto result =
      os::capture({.arguments = arguments, .environment = {"PATH=/usr/bin:/bin"}}, std::chrono::seconds(60));
  INFO(result.err);
  REQUIRE(result.exit_code == 0);
  return result.out;
}

Names listed(const Directory& directory, const BuildContext& context) {
  std::istringstream lines(tar_says(directory, stream_of(context), {"-t"}));
  Names names;
  for (std::string line; std::getline(lines, line);) names.push_back(line);
  return names;
}

std::string content_of(const Directory& directory, const BuildContext& context, const std::string& name) {
  return tar_says(directory, stream_of(context), {"-xO", name});
}

Error error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  FAIL("no error");
  throw std::logic_error("unreachable");
}

}  // namespace

TEST_CASE("the stream holds files, directories and links as they are, with names of any length and bytes") {
  const Directory directory;
  const std::string large(300'000, 'x');
  directory.write("large", large);
  directory.write("program", "#!/bin/sh\n", 0755);
  directory.write("deep/" + std::string(120, 'a') + "/" + std::string(120, 'b'), "long");
  directory.write("bytes-\xff\xfe", "no UTF-8");
  directory.write("\xc3\xbc", "");
  fs::create_directory(directory.path / "empty");
  fs::create_symlink("../outside/" + std::string(150, 'l'), directory.path / "link");
  REQUIRE(::mkfifo((directory.path / "fifo").c_str(), 0600) == 0);
  const os::Fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (directory.path / "socket").c_str(), sizeof address.sun_path - 1);
  REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);

  const BuildContext context(directory.path, "FROM x\n");
  const std::string tar = stream_of(context, "", GENERATE(std::size_t{1000}, std::size_t{1 << 20}));
  const fs::path out = directory.base / "out";
  os::make_directories(out);
  tar_says(directory, tar, {"-x", "-p", "-C", out.string()});
  CHECK(os::read_file(out / "large") == large);
  CHECK(os::read_file(out / "deep" / std::string(120, 'a') / std::string(120, 'b')) == "long");
  CHECK(os::read_file(out / "bytes-\xff\xfe") == "no UTF-8");
  CHECK(os::read_file(out / "\xc3\xbc").empty());
  CHECK(fs::is_directory(out / "empty"));
  CHECK(fs::read_symlink(out / "link") == "../outside/" + std::string(150, 'l'));
  CHECK(fs::is_fifo(out / "fifo"));
  CHECK_FALSE(fs::exists(fs::symlink_status(out / "socket")));
  struct ::stat info {};
  REQUIRE(::stat((out / "program").c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0755);
  CHECK_THAT(tar_says(directory, tar, {"-tv"}), Contains(" 0/0 ") && !Contains(" 1000/"));
}

TEST_CASE("the data directory is in no context, wherever it lies") {
  const Directory directory;
  directory.write("a", "1");
  directory.write("deep/home/runner.db", "2");
  CHECK(listed(directory, BuildContext(directory.path, "FROM x\n", {}, directory.path / "deep" / "home")) ==
        Names{".dockerignore", ".runner.Dockerfile", "a", "deep/"});
  CHECK(listed(directory, BuildContext(directory.path, "FROM x\n", {}, directory.path / "nowhere")).size() == 6);
}

TEST_CASE("what is ignored is not sent, directories above what comes back are") {
  const Directory directory;
  directory.write("docs/a.md", "1");
  directory.write("docs/b.txt", "2");
  directory.write("node_modules/x/y", "3");
  directory.write(".dockerignore", "*\n!docs/*.md\n");
  const BuildContext context(directory.path, "FROM x\n");
  CHECK(listed(directory, context) == Names{".dockerignore", ".runner.Dockerfile", "docs/", "docs/a.md"});
}

TEST_CASE("a directory where nothing can come back is not opened") {
  if (::geteuid() == 0) return;  // root may open everything
  const Directory directory;
  directory.write("locked/a", "1");
  directory.write("b", "2");
  directory.write(".dockerignore", "locked\n!other/a\n");
  ::chmod((directory.path / "locked").c_str(), 0);
  const BuildContext context(directory.path, "FROM x\n");
  CHECK(listed(directory, context) == Names{".dockerignore", ".runner.Dockerfile", "b"});
  directory.write(".dockerignore", "locked\n!**/a\n");
  const Error error = error_of([&] { stream_of(BuildContext(directory.path, "FROM x\n")); });
  CHECK(error.code() == ErrorCode::kPermission);
  CHECK_THAT(error.message(), Contains("locked"));
  ::chmod((directory.path / "locked").c_str(), 0700);
}

TEST_CASE("a Dockerfile of elsewhere is sent beside the context, and hidden from COPY as the docker CLI hides it") {
  const Directory directory;
  directory.write("Dockerfile", "FROM other\n");
  directory.write("a", "1");
  const BuildContext context(directory.path, "FROM x\n");
  CHECK(context.dockerfile_name() == ".runner.Dockerfile");
  CHECK(content_of(directory, context, ".runner.Dockerfile") == "FROM x\n");
  CHECK(content_of(directory, context, ".dockerignore") == ".dockerignore\n.runner.Dockerfile\n");
  directory.write(".dockerignore", "b\n");
  const BuildContext with_rules(directory.path, "FROM x\n");
  CHECK(content_of(directory, with_rules, ".dockerignore") == "b\n\n!.dockerignore\n.runner.Dockerfile\n");
}

TEST_CASE("a Dockerfile of the context is sent as what it is, though it is ignored") {
  const Directory directory;
  directory.write("build/Dockerfile", "FROM x\n");
  directory.write("a", "1");
  directory.write(".dockerignore", "**/Dockerfile\n.dockerignore\n");
  const fs::path file = directory.path / "build/Dockerfile";
  const BuildContext context(directory.path, "FROM x\n", file);
  CHECK(context.dockerfile_name() == "build/Dockerfile");
  CHECK(content_of(directory, context, "build/Dockerfile") == "FROM x\n");
  CHECK(content_of(directory, context, ".dockerignore") == "**/Dockerfile\n.dockerignore\n");
  // A text that is not that file's any more is another Dockerfile.
  CHECK(BuildContext(directory.path, "FROM y\n", file).dockerfile_name() == ".runner.Dockerfile");
}

TEST_CASE("a Dockerfile may have rules of its own") {
  const Directory directory;
  directory.write("Dockerfile", "FROM x\n");
  directory.write("Dockerfile.dockerignore", "a\n");
  directory.write(".dockerignore", "b\n");
  directory.write("a", "1");
  directory.write("b", "2");
  const BuildContext context(directory.path, "FROM x\n", directory.path / "Dockerfile");
  CHECK(listed(directory, context) ==
        Names{".dockerignore", ".runner.Dockerfile", "Dockerfile", "Dockerfile.dockerignore", "b"});
}

TEST_CASE("without a directory only the Dockerfile is sent") {
  const Directory directory;
  const BuildContext context("", "FROM x\n");
  CHECK(listed(directory, context) == Names{".runner.Dockerfile"});
  CHECK(context.digest("") == BuildContext("", "FROM y\n").digest(""));
}

TEST_CASE("the digest is that of what is copied: names, kinds, modes, contents") {
  const Directory directory;
  directory.write("a", "1");
  directory.write("ignored", "1");
  directory.write(".dockerignore", "ignored\n");
  const auto digest = [&] { return BuildContext(directory.path, "FROM x\n").digest(""); };
  const std::string before = digest();
  CHECK(before.size() == 64);
  SECTION("not times and what is ignored") {
    directory.write("ignored", "2");
    fs::last_write_time(directory.path / "a", fs::file_time_type::clock::now() - std::chrono::hours(5));
    CHECK(digest() == before);
    CHECK(BuildContext(directory.path, "FROM y\n").digest("") == before);
  }
  SECTION("content") { directory.write("a", "2"); }
  SECTION("mode") { ::chmod((directory.path / "a").c_str(), 0755); }
  SECTION("name") { fs::rename(directory.path / "a", directory.path / "b"); }
  SECTION("kind") {
    fs::remove(directory.path / "a");
    fs::create_symlink("1", directory.path / "a");
  }
  SECTION("an empty directory") { fs::create_directory(directory.path / "d"); }
  SECTION("rules that let more in") { directory.write(".dockerignore", "ignored2\n"); }
  const bool same = digest() == before;
  CHECK(same == (os::read_file(directory.path / "ignored") == "2"));
}

TEST_CASE("the digest is remembered while no file looks changed, and by nothing else") {
  const Directory directory;
  directory.write("a", "1");
  const auto digest = [&] { return BuildContext(directory.path, "FROM x\n").digest(directory.memo()); };
  const std::string before = digest();
  // What was changed just now may change once more and look the same: not remembered until it has settled.
  for (int i = 0; i < 200 && !fs::exists(directory.memo()); ++i) {
    ::poll(nullptr, 0, 10);
    CHECK(digest() == before);
  }
  REQUIRE(fs::exists(directory.memo()));
  std::string memo = os::read_file(directory.memo());
  memo.replace(memo.find(before), 64, std::string(64, 'f'));
  std::ofstream(directory.memo()) << memo;
  CHECK(digest() == std::string(64, 'f'));  // no file was read
  directory.write("a", "2");
  CHECK(digest() != before);
  CHECK(digest() != std::string(64, 'f'));
  std::ofstream(directory.memo()) << "nonsense";
  directory.write("a", "1");
  CHECK(digest() == before);
}

TEST_CASE("a context that is not the one that was submitted ends its stream with an error") {
  const Directory directory;
  directory.write("a", "1");
  directory.write(".dockerignore", "b\n");
  const BuildContext context(directory.path, "FROM x\n");
  const std::string expected = context.digest("");
  CHECK_FALSE(stream_of(context, expected).empty());
  directory.write("a", "2");
  const Error error = error_of([&] { stream_of(context, expected); });
  CHECK(error.code() == ErrorCode::kConflict);
  CHECK_THAT(error.message(), Contains("changed after the run was submitted"));
}

TEST_CASE("a file that changes while it is sent is told") {
  const Directory directory;
  directory.write("a", std::string(2 << 20, 'x'));
  const BuildContext context(directory.path, "FROM x\n");
  const ReadSome read = context.reader();
  std::string buffer(100'000, '\0');
  const auto piece = [&] { return read(std::as_writable_bytes(std::span(buffer))); };
  piece();
  piece();
  fs::resize_file(directory.path / "a", 10);
  const Error error = error_of([&] {
    while (piece() > 0) {
    }
  });
  CHECK(error.code() == ErrorCode::kConflict);
  CHECK_THAT(error.message(), Contains("/a changed while it was read"));
}

TEST_CASE("a directory that is not there is told") {
  CHECK(error_of([] { BuildContext("/nonexistent/context", "FROM x\n"); }).code() == ErrorCode::kNotFound);
}

}  // namespace runner::envs
