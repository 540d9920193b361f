#include "runner/collect/outputs.hpp"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "memory_batch.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::collect {
namespace {

using std::filesystem::path;
using test::MemoryBatch;

struct Upper {
  path root;
  Upper() {
    std::string name = (std::filesystem::temp_directory_path() / "runner-collect-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    root = name;
  }
  ~Upper() { os::remove_tree(root); }
  path file(const path& name, const std::string& content) const {
    os::make_directories((root / name).parent_path());
    std::ofstream(root / name, std::ios::binary) << content;
    return root / name;
  }
};

std::vector<std::string> names(const Collected& collected) {
  std::vector<std::string> result;
  for (const Artifact& artifact : collected.artifacts) result.push_back(artifact.name);
  return result;
}

}  // namespace

TEST_CASE("regular files under outputs and logs are stored, in byte order, and nothing else is") {
  const Upper upper;
  upper.file("outputs/b/model.pkl", std::string("\0binary\xff", 8));
  upper.file("outputs/a.txt", "first");
  upper.file("outputs/empty", "");
  upper.file("outputs/.hidden", "h");
  upper.file("logs/run.csv", "1,2\n");
  upper.file("train.py", "changed code");
  upper.file("outputs2/x", "");
  MemoryBatch batch;
  const Collected collected = gather(upper.root, batch);
  CHECK(names(collected) == std::vector<std::string>{"outputs/.hidden", "outputs/a.txt", "outputs/b/model.pkl",
                                                     "outputs/empty", "logs/run.csv"});
  CHECK(collected.notices.empty());
  CHECK(batch.content(collected.artifacts[2].sha256) == std::string("\0binary\xff", 8));
  CHECK(collected.artifacts[2].bytes == 8);
  CHECK(collected.artifacts[3].bytes == 0);
}

TEST_CASE("a run that wrote nothing has no artifacts") {
  const Upper upper;
  MemoryBatch batch;
  CHECK(gather(upper.root, batch).artifacts.empty());
  CHECK(gather(upper.root / "missing", batch).artifacts.empty());
}

TEST_CASE("links, pipes and sockets are told and never followed") {
  const Upper upper;
  const path secret = upper.file("secret", "s");
  os::make_directories(upper.root / "outputs/d");
  std::filesystem::create_symlink(secret, upper.root / "outputs/link");
  std::filesystem::create_directory_symlink("/etc", upper.root / "outputs/d/etc");
  REQUIRE(::mkfifo((upper.root / "outputs/pipe").c_str(), 0600) == 0);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (upper.root / "outputs/sock").string().copy(address.sun_path, sizeof address.sun_path - 1);
  REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  ::close(fd);
  MemoryBatch batch;
  const Collected collected = gather(upper.root, batch);
  CHECK(collected.artifacts.empty());
  CHECK(collected.notices ==
        std::vector<std::string>{"outputs/d/etc: symbolic link, not stored", "outputs/link: symbolic link, not stored",
                                 "outputs/pipe: named pipe, not stored", "outputs/sock: socket, not stored"});
}

TEST_CASE("outputs that is itself a link or a file is told") {
  const Upper upper;
  std::filesystem::create_directory_symlink("/etc", upper.root / "outputs");
  upper.file("logs", "not a directory");
  MemoryBatch batch;
  const Collected collected = gather(upper.root, batch);
  CHECK(collected.artifacts.empty());
  CHECK(collected.notices == std::vector<std::string>{"outputs: symbolic link, not stored",
                                                      "logs: a file where a directory was expected, not stored"});
}

TEST_CASE("overlay's whiteouts mean deleted and are no outputs") {
  if (::geteuid() != 0) {
    WARN("skipped: only root makes device nodes");
    return;
  }
  const Upper upper;
  upper.file("outputs/kept", "k");
  REQUIRE(::mknod((upper.root / "outputs/deleted").c_str(), S_IFCHR, ::makedev(0, 0)) == 0);
  REQUIRE(::mknod((upper.root / "logs").c_str(), S_IFCHR, ::makedev(0, 0)) == 0);
  REQUIRE(::mknod((upper.root / "outputs/null").c_str(), S_IFCHR, ::makedev(1, 3)) == 0);
  MemoryBatch batch;
  const Collected collected = gather(upper.root, batch);
  CHECK(names(collected) == std::vector<std::string>{"outputs/kept"});
  CHECK(collected.notices == std::vector<std::string>{"outputs/null: device, not stored"});
}

TEST_CASE("files without permissions are the caller's all the same") {
  const Upper upper;
  ::chmod(upper.file("outputs/closed/f", "x").c_str(), 0);
  ::chmod((upper.root / "outputs/closed").c_str(), 0);
  MemoryBatch batch;
  CHECK(names(gather(upper.root, batch)) == std::vector<std::string>{"outputs/closed/f"});
}

TEST_CASE("names that are not UTF-8 are stored percent-escaped, told, and never collide") {
  const Upper upper;
  upper.file("outputs/a\xff", "1");
  upper.file("outputs/a%FF", "2");
  upper.file("outputs/\xc3\xa9\xed\xa0\x80", "3");  // é and a surrogate
  MemoryBatch batch;
  const Collected collected = gather(upper.root, batch);
  CHECK(names(collected) == std::vector<std::string>{"outputs/a%FF", "outputs/a%FF_", "outputs/\xc3\xa9%ED%A0%80"});
  CHECK(collected.notices.size() == 2);
}

TEST_CASE("a tree nested too deeply is told, not followed to the end of the stack") {
  const Upper upper;
  path deep = "outputs";
  for (int i = 0; i < 300; ++i) deep /= "d";
  upper.file(deep / "f", "x");
  upper.file("outputs/shallow", "y");
  MemoryBatch batch;
  const Collected collected = gather(upper.root, batch);
  CHECK(names(collected) == std::vector<std::string>{"outputs/shallow"});
  REQUIRE(collected.notices.size() == 1);
  CHECK(collected.notices[0].find("nested too deeply") != std::string::npos);
}

TEST_CASE("notices of a hostile tree are counted, not all kept") {
  const Upper upper;
  os::make_directories(upper.root / "outputs");
  for (int i = 0; i < 150; ++i) std::filesystem::create_symlink("x", upper.root / "outputs" / std::to_string(i));
  MemoryBatch batch;
  const Collected collected = gather(upper.root, batch);
  CHECK(collected.notices.size() == 101);
  CHECK(collected.notices.back() == "and 50 more that were not stored");
}

TEST_CASE("one file is gathered under the name it is given") {
  const Upper upper;
  const path log = upper.file("std_log.txt", "line\n");
  MemoryBatch batch;
  const auto artifact = gather_file(log, "user_logs/std_log.txt", batch);
  REQUIRE(artifact);
  CHECK(artifact->name == "user_logs/std_log.txt");
  CHECK(artifact->bytes == 5);
  CHECK_FALSE(gather_file(upper.root / "none", "x", batch));
  std::filesystem::create_symlink(log, upper.root / "link");
  CHECK_THROWS_AS(gather_file(upper.root / "link", "x", batch), Error);
}

}  // namespace runner::collect
