#include "support.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>

#include "runner/os/file.hpp"
#include "runner/os/process.hpp"
#include "snapshot/tree_object.hpp"

namespace runner::test {
namespace fs = std::filesystem;

TempDir::TempDir() : TempDir(fs::temp_directory_path()) {}
TempDir::TempDir(const fs::path& in) {
  std::string pattern = (fs::canonical(in) / "runner-test-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
  path_ = pattern;
}
TempDir::~TempDir() {
  try {
    os::remove_tree(path_);
  } catch (const std::exception&) {  // a test's leftovers are not worth its result
  }
}

void write_file(const fs::path& path, std::string_view content, unsigned mode) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
  if (::chmod(path.c_str(), mode) != 0) throw std::runtime_error("chmod " + path.string());
}

std::string read_file(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

const fs::path& test_home() {
  static const TempDir home;
  return home.path();
}

namespace {
// Before any test, hence before libgit2 looks for its configuration.
const bool home_is_set = [] {
  ::setenv("HOME", test_home().c_str(), 1);
  ::unsetenv("XDG_CONFIG_HOME");
  return true;
}();
}  // namespace

OpenWatch::OpenWatch(const std::vector<fs::path>& directories) : fd_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
  REQUIRE(fd_ >= 0);
  for (const fs::path& directory : directories) REQUIRE(::inotify_add_watch(fd_, directory.c_str(), IN_OPEN) >= 0);
}

OpenWatch::~OpenWatch() { ::close(fd_); }

std::vector<std::string> OpenWatch::opened() {
  std::set<std::string> names;
  alignas(::inotify_event) std::array<char, 65536> buffer;
  for (ssize_t got = 0; (got = ::read(fd_, buffer.data(), buffer.size())) > 0;)
    for (ssize_t at = 0; at < got;) {
      ::inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      names.insert(event.len == 0 ? "." : buffer.data() + at + sizeof event);
      at += static_cast<ssize_t>(sizeof event + event.len);
    }
  return {names.begin(), names.end()};
}

std::int64_t peak_memory(const std::function<void()>& work) {
  const auto kilobytes = [](std::string_view field) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
      if (line.starts_with(field)) return std::stoll(line.substr(field.size() + 1));
    return 0LL;
  };
  std::array<int, 2> pipe{};
  REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::int64_t bytes = -1;
    try {
      std::ofstream("/proc/self/clear_refs") << "5";  // VmHWM starts again
      const auto before = kilobytes("VmRSS:");
      work();
      bytes = (kilobytes("VmHWM:") - before) * 1024;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
    }
    ::_exit(::write(pipe[1], &bytes, sizeof bytes) == sizeof bytes ? 0 : 1);
  }
  ::close(pipe[1]);
  std::int64_t bytes = -1;
  const ssize_t got = ::read(pipe[0], &bytes, sizeof bytes);
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  REQUIRE(got == sizeof bytes);
  REQUIRE(bytes >= 0);
  return bytes;
}

std::string git(const fs::path& directory, const std::vector<std::string>& arguments) {
  static const auto program = os::find_program("git", "/usr/local/bin:/usr/bin:/bin").value();
  os::SpawnRequest request{.arguments = {program.string(), "-C", directory.string()},
                           .environment = {"HOME=" + test_home().string(), "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C",
                                           "PATH=/usr/local/bin:/usr/bin:/bin", "GIT_AUTHOR_NAME=t",
                                           "GIT_AUTHOR_EMAIL=t@t", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@t"},
                           .directory = {},
                           .descriptors = {}};
  std::string line;
  for (const std::string& argument : arguments) {
    request.arguments.push_back(argument);
    line += " " + argument;
  }
  const os::Captured captured = os::capture(request, std::chrono::seconds(60));
  INFO("git" << line << ": " << captured.err);
  REQUIRE(captured.exit_code == 0);
  return captured.out;
}

std::string git(const fs::path& directory, std::initializer_list<std::string> arguments) {
  return git(directory, std::vector<std::string>(arguments));
}

void make_repository(const fs::path& directory, std::string_view extra_config) {
  fs::create_directories(directory / ".git" / "objects");
  fs::create_directories(directory / ".git" / "refs" / "heads");
  write_file(directory / ".git" / "HEAD", "ref: refs/heads/main\n");
  write_file(directory / ".git" / "config",
             "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n" + std::string(extra_config));
}

std::vector<std::string> split_nul(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = text.find('\0');
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return parts;
}

namespace {

class MemoryBatch : public ContentBatch {
 public:
  explicit MemoryBatch(MemoryStore& store) : store_(store), generation_(store.generation) {}
  Hash put(std::span<const std::byte> content) override {
    return store_.put(std::string(reinterpret_cast<const char*>(content.data()), content.size()));
  }
  Stored put_stream(const ReadSome& read) override {
    std::string all;
    std::array<std::byte, 65536> buffer;
    while (const std::size_t got = read(buffer)) {
      if (all.empty() && store_.during_stream) store_.during_stream();
      all.append(reinterpret_cast<const char*>(buffer.data()), got);
    }
    const auto bytes = static_cast<std::int64_t>(all.size());
    return {.hash = store_.put(std::move(all)), .bytes = bytes};
  }
  void commit() override { ++store_.commits; }
  bool known(const Hash& hash) override {
    ++store_.asked;
    return store_.knows && store_.contains(hash);
  }
  std::uint64_t generation() const override { return generation_; }

 private:
  MemoryStore& store_;
  const std::uint64_t generation_;
};

}  // namespace

std::unique_ptr<ContentBatch> MemoryStore::begin() { return std::make_unique<MemoryBatch>(*this); }

namespace {

class ForgetfulBatch : public ContentBatch {
 public:
  Hash put(std::span<const std::byte> content) override {
    return snapshot::sha256(std::string_view(reinterpret_cast<const char*>(content.data()), content.size()));
  }
  Stored put_stream(const ReadSome& read) override {
    const std::unique_ptr<::EVP_MD_CTX, decltype(&::EVP_MD_CTX_free)> digest(::EVP_MD_CTX_new(), &::EVP_MD_CTX_free);
    ::EVP_DigestInit_ex(digest.get(), ::EVP_sha256(), nullptr);
    std::vector<std::byte> buffer(1 << 20);
    Stored stored{.hash = {}, .bytes = 0};
    while (const std::size_t got = read(buffer)) {
      ::EVP_DigestUpdate(digest.get(), buffer.data(), got);
      stored.bytes += static_cast<std::int64_t>(got);
    }
    ::EVP_DigestFinal_ex(digest.get(), stored.hash.bytes.data(), nullptr);
    return stored;
  }
  void commit() override {}
  bool known(const Hash&) override { return false; }
};

}  // namespace

std::unique_ptr<ContentBatch> ForgetfulStore::begin() { return std::make_unique<ForgetfulBatch>(); }

Hash MemoryStore::put(std::string content) {
  const Hash hash = snapshot::sha256(content);
  const std::lock_guard lock(mutex_);
  contents_.emplace(hash, std::move(content));
  ++puts;
  return hash;
}

bool MemoryStore::contains(const Hash& hash) const {
  const std::lock_guard lock(mutex_);
  return contents_.contains(hash);
}

std::int64_t MemoryStore::size(const Hash& hash) const {
  const std::lock_guard lock(mutex_);
  const auto found = contents_.find(hash);
  if (found == contents_.end()) throw Error(ErrorCode::kNotFound, "no content " + hash.hex());
  return static_cast<std::int64_t>(found->second.size());
}

void MemoryStore::read(const Hash& hash, std::int64_t offset, std::int64_t length, const WriteSome& write) const {
  const std::string* content = nullptr;
  {
    const std::lock_guard lock(mutex_);
    const auto found = contents_.find(hash);
    if (found == contents_.end()) throw Error(ErrorCode::kNotFound, "no content " + hash.hex());
    content = &found->second;
  }
  std::string_view rest = *content;
  rest = rest.substr(static_cast<std::size_t>(offset),
                     length < 0 ? std::string_view::npos : static_cast<std::size_t>(length));
  constexpr std::size_t kPiece = 1 << 20;
  while (!rest.empty()) {
    const auto piece = rest.substr(0, kPiece);
    write(std::as_bytes(std::span(piece.data(), piece.size())));
    rest.remove_prefix(piece.size());
  }
}

}  // namespace runner::test
