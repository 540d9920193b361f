#include "runner/collect/outputs.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <set>
#include <stop_token>

#include "memory_batch.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::collect {
namespace {

using std::filesystem::path;
using test::MemoryBatch;

struct Upper {
  path root;
  explicit Upper(const path& place = std::filesystem::temp_directory_path()) {
    std::string name = (place / "runner-collect-XXXXXX").string();
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

TEST_CASE("a sparse file is refused by name, and small ones share an allowance") {
  const Upper upper;
  upper.file("outputs/whole", std::string(5000, 'w'));
  upper.file("outputs/huge", "data at the start");
  std::filesystem::resize_file(upper.root / "outputs/huge", 10ULL << 40);
  std::filesystem::resize_file(upper.file("outputs/sparse", ""), 1 << 20);
  MemoryBatch batch;
  const Collected collected = gather(upper.root, batch);
  CHECK(names(collected) == std::vector<std::string>{"outputs/sparse", "outputs/whole"});
  CHECK(batch.content(collected.artifacts[0].sha256) == std::string(1 << 20, '\0'));
  REQUIRE(collected.notices.size() == 1);
  CHECK(collected.notices[0].find("outputs/huge: a sparse file of 10.0 TiB") == 0);
}

namespace {

// Takes what it is given and counts it.
class CountingBatch : public ContentBatch {
 public:
  std::int64_t bytes = 0;
  std::int64_t most = INT64_MAX;
  std::stop_source stop;
  Hash put(std::span<const std::byte>) override { return {}; }
  Stored put_stream(const ReadSome& read) override {
    std::vector<std::byte> buffer(1 << 20);
    Stored stored{};
    while (const std::size_t got = read(buffer)) {
      stored.bytes += static_cast<std::int64_t>(got);
      bytes += static_cast<std::int64_t>(got);
      if (bytes >= most) stop.request_stop();
    }
    return stored;
  }
  void commit() override {}
};

}  // namespace

TEST_CASE("many sparse files have no more between them than one may have") {
  const Upper upper;
  for (int i = 0; i < 40; ++i)
    std::filesystem::resize_file(upper.file("outputs/" + std::to_string(i), "x"), 100ULL << 20);
  CountingBatch batch;
  const Collected collected = gather(upper.root, batch);
  CHECK(collected.artifacts.size() == 10);
  CHECK(collected.notices.size() == 30);
  CHECK(batch.bytes <= kMaxUnwritten);
}

TEST_CASE("a file of many names is read once") {
  const Upper upper;
  const path first = upper.file("outputs/a", "content");
  std::filesystem::create_hard_link(first, upper.root / "outputs/b");
  upper.file("logs/other", "else");
  std::filesystem::create_hard_link(first, upper.root / "logs/c");
  CountingBatch counting;
  CHECK(gather(upper.root, counting).artifacts.size() == 4);
  CHECK(counting.bytes == 7 + 4);
  MemoryBatch batch;
  for (const Artifact& artifact : gather(upper.root, batch).artifacts)
    CHECK(batch.content(artifact.sha256) == (artifact.name == "logs/other" ? "else" : "content"));
}

TEST_CASE("a large file is left where it is when the daemon stops") {
  const Upper upper;
  upper.file("outputs/a", std::string(8 << 20, 'a'));
  upper.file("outputs/b", "b");
  CountingBatch batch;
  batch.most = 2 << 20;
  const Collected collected = gather(upper.root, batch, batch.stop.get_token());
  CHECK(collected.stopped);
  CHECK(batch.bytes == 2 << 20);
  CHECK(collected.artifacts.empty());
  CHECK_FALSE(gather_file(upper.root / "outputs/b", "b", batch, batch.stop.get_token()));
  CHECK_FALSE(gather(upper.root, batch).stopped);
}

TEST_CASE("names that are longer than any path are counted, not kept") {
  const Upper upper;
  upper.file("outputs/kept", "k");
  const std::string level(250, 'n');
  int here = ::open((upper.root / "outputs").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int depth = 0; depth < 30; ++depth) {
    ::close(::openat(here, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    REQUIRE(::mkdirat(here, level.c_str(), 0700) == 0);
    const int below = ::openat(here, level.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ::close(here);
    here = below;
  }
  ::close(here);
  MemoryBatch batch;
  const Collected collected = gather(upper.root, batch);
  CHECK(collected.artifacts.size() == 1 + 17);  // 16 levels of 251 bytes and outputs/ fit
  REQUIRE(collected.notices.size() == 1);
  CHECK(collected.notices[0].find("1 entry was not stored") != std::string::npos);
  CHECK(collected.notices[0].find("longer than 4096 bytes; the first is outputs/nnn") != std::string::npos);
  CHECK(collected.notices[0].size() < 500);
}

TEST_CASE("of more files than a run may leave the rest is counted") {
  const Upper upper("/dev/shm");  // makes 200 000 names in a second
  int made = 0;
  for (const char* directory : {"a", "b", "c", "d"}) {  // a file system bounds the names of one file
    os::make_directories(upper.root / "outputs" / directory);
    const path here = upper.root / "outputs" / directory;
    for (int i = 0; i < 50'001; ++i) {
      const path name = here / std::to_string(i);
      if (i == 0) upper.file(name, "x");
      if (i == 0 || ::link((here / "0").c_str(), name.c_str()) == 0) ++made;
    }
  }
  REQUIRE(made == 4 * 50'001);
  CountingBatch batch;
  const Collected collected = gather(upper.root, batch);
  CHECK(collected.artifacts.size() == kMaxArtifacts);
  REQUIRE(collected.notices.size() == 1);
  CHECK(collected.notices[0].find("outputs and logs: 4 entries were not stored") == 0);
}

TEST_CASE("many names that have the same text are told apart in no time") {
  const Upper upper;
  // Each of 14 places is the byte ff or the text %FF of it.
  for (int bits = 0; bits < 1 << 14; ++bits) {
    std::string name = "outputs/";
    for (int place = 0; place < 14; ++place) name += (bits >> place & 1) != 0 ? "\xff" : "%FF";
    upper.file(name, "");
  }
  CountingBatch batch;
  const Collected collected = gather(upper.root, batch);
  std::set<std::string> distinct;
  for (const std::string& name : names(collected)) distinct.insert(name);
  CHECK(distinct.size() == 1 << 14);
  CHECK(std::all_of(distinct.begin(), distinct.end(), [](const std::string& name) { return name.size() < 100; }));
}

TEST_CASE("one file that a script could write is told when it is not stored") {
  const Upper upper;
  MemoryBatch batch;
  CHECK(gather_one(upper.root / "none", "x", batch).notices.empty());
  std::filesystem::create_symlink("/etc/passwd", upper.root / "link");
  CHECK(gather_one(upper.root / "link", "x", batch).notices.size() == 1);
  std::filesystem::resize_file(upper.file("sparse", "s"), 3ULL << 40);
  CHECK(gather_one(upper.root / "sparse", "x", batch).artifacts.empty());
  CHECK(gather_one(upper.file("plain", "p"), "x", batch).artifacts.size() == 1);
}

}  // namespace runner::collect
