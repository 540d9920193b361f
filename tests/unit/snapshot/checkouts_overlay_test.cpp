// Layers as the kernel shows them. Oracle: the tree that the snapshot was made from, against a real overlay mount of
// the layers, in a mount namespace of its own. As root with trusted.* marks as the sandbox of a root daemon mounts it,
// and (also as an ordinary user) in a user namespace with userxattr.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <string>

#include "made_trees.hpp"
#include "runner/os/file.hpp"
#include "snapshot/checkout_view.hpp"
#include "snapshot/checkouts.hpp"
#include "support.hpp"

namespace runner::snapshot {
namespace {

namespace fs = std::filesystem;
using test::file;
using test::list_tree;
using test::MemoryStore;
using test::Node;
using test::store_tree;
using test::TempDir;

// --- a history of trees
// ------------------------------------------------------------------------------------------------

const std::vector<std::string> kNames{"a",           "b",        "c",        "with blank", "a,b:c\\d", ".wh.a",
                                      "line\nbreak", "\xff\xfe", "\xc3\xbc", "-rf",        ".hidden",  "a.b"};

Node random_leaf(std::mt19937& random) {
  const std::array types{EntryType::kFile, EntryType::kExecutable, EntryType::kSymlink};
  return file(std::string(1 + random() % 3, static_cast<char>('0' + random() % 4)), types[random() % 3]);
}

Node random_directory(std::mt19937& random, int depth) {
  Node directory;
  for (auto left = random() % 4; left > 0; --left) {
    const std::string& name = kNames[random() % kNames.size()];
    directory.children[name] =
        depth < 3 && random() % 3 == 0 ? random_directory(random, depth + 1) : random_leaf(random);
  }
  return directory;
}

// One edit somewhere: something appears, vanishes, changes its content, its mode, or what it is.
void edit(Node& directory, std::mt19937& random) {
  std::vector<Node*> inner;
  for (auto& [name, node] : directory.children)
    if (node.type == EntryType::kDirectory) inner.push_back(&node);
  if (!inner.empty() && random() % 2 == 0) return edit(*inner[random() % inner.size()], random);
  const std::string& name = kNames[random() % kNames.size()];
  const auto at = directory.children.find(name);
  if (at == directory.children.end())
    directory.children[name] = random() % 2 == 0 ? random_leaf(random) : random_directory(random, 1);
  else if (random() % 3 == 0)
    directory.children.erase(at);
  else if (random() % 2 == 0)
    at->second = random() % 2 == 0 ? random_leaf(random) : random_directory(random, 1);
  else if (at->second.type == EntryType::kFile)
    at->second.type = EntryType::kExecutable;
  else if (at->second.type == EntryType::kExecutable)
    at->second.type = EntryType::kFile;
}

// Enough that never changes for layers to be thin.
Node ballast() {
  Node directory;
  for (int i = 0; i < 150; ++i) directory.children["f" + std::to_string(i)] = file(std::to_string(i));
  return directory;
}

// --- what a directory shows
// --------------------------------------------------------------------------------------------

void list_directory(const fs::path& directory, const std::string& prefix, std::map<std::string, std::string>& into) {
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string path = prefix + entry.path().filename().string();
    struct ::stat info {};
    if (::lstat(entry.path().c_str(), &info) != 0) throw std::runtime_error("lstat " + path);
    std::string mode(4, '\0');
    std::snprintf(mode.data(), mode.size(), "%03o", info.st_mode & 07777U);
    mode.resize(3);
    if (S_ISDIR(info.st_mode)) {
      into[path] = "d " + mode;
      list_directory(entry.path(), path + "/", into);
    } else if (S_ISLNK(info.st_mode)) {
      into[path] = "l " + fs::read_symlink(entry.path()).string();
    } else if (S_ISREG(info.st_mode)) {
      into[path] = "f " + mode + " " + test::read_file(entry.path());
    } else {
      into[path] = "something else";
    }
  }
}

class Mounted {
 public:
  Mounted(const fs::path& place, const std::vector<fs::path>& layers, const std::string& options)
      : place_(place / "m") {
    for (const char* name : {"m", "upper", "work"}) fs::create_directory(place / name);
    // Volatile: without it an unmount waits until the whole file system is synced.
    std::string text = "volatile,upperdir=" + (place / "upper").string() + ",workdir=" + (place / "work").string() +
                       "," + options + ",lowerdir=";
    for (const fs::path& layer : layers) text += (layer == layers.front() ? "" : ":") + layer.string();
    if (::mount("overlay", place_.c_str(), "overlay", 0, text.c_str()) != 0)
      throw std::runtime_error("mount overlay: " + std::string(std::strerror(errno)));
  }
  ~Mounted() { ::umount2(place_.c_str(), MNT_DETACH); }
  const fs::path& place() const { return place_; }

 private:
  fs::path place_;
};

// --- in a process of its own
// -------------------------------------------------------------------------------------------

void write_map(const char* file, const std::string& text) { std::ofstream(file) << text; }

// Runs `work` in a child with its own mounts; what it returns (or throws) is the result.
std::string in_own_mounts(bool user_namespace, const std::function<std::string()>& work) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  const auto uid = std::to_string(::geteuid());
  const auto gid = std::to_string(::getegid());
  const pid_t child = ::fork();
  if (child == 0) {
    std::string said;
    if (::unshare(CLONE_NEWNS | (user_namespace ? CLONE_NEWUSER : 0)) != 0) {
      said = std::string("unshare: ") + std::strerror(errno);
    } else {
      if (user_namespace) {
        write_map("/proc/self/setgroups", "deny");
        write_map("/proc/self/uid_map", uid + " " + uid + " 1");
        write_map("/proc/self/gid_map", gid + " " + gid + " 1");
      }
      if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) said = "mount --make-rprivate";
      try {
        if (said.empty()) said = work();
      } catch (const std::exception& error) {
        said = error.what();
      }
    }
    static_cast<void>(!::write(ends[1], said.data(), std::min<std::size_t>(said.size(), 60000)));
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string said;
  std::array<char, 4096> buffer;
  for (ssize_t got = 0; (got = ::read(ends[0], buffer.data(), buffer.size())) > 0;)
    said.append(buffer.data(), static_cast<std::size_t>(got));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return status == 0 ? said : said + " (died)";
}

std::string difference(const std::map<std::string, std::string>& expected,
                       const std::map<std::string, std::string>& got) {
  for (const auto& [path, what] : expected)
    if (const auto at = got.find(path); at == got.end() || at->second != what)
      return path + ": " + (at == got.end() ? "missing" : at->second) + ", not " + what;
  for (const auto& [path, what] : got)
    if (!expected.contains(path)) return path + ": " + what + ", not in the tree";
  return {};
}

// Histories of ten trees each, every one checked out over what is there; "" if all was as it should be.
std::string check_histories(unsigned seed, int histories, const std::string& options, std::size_t& deepest) {
  std::mt19937 random(seed);
  for (int history = 0; history < histories; ++history) {
    const TempDir home;
    fs::create_directory(home.path() / "checkouts");
    MemoryStore store;
    Checkouts checkouts(store, home.path() / "checkouts", {});
    Node tree = random_directory(random, 0);
    tree.children["zz ballast"] = ballast();
    for (int step = 0; step < 10; ++step) {
      const auto layers = checkouts.acquire(store_tree(store, tree), "run");
      deepest = std::max(deepest, layers.size());
      const fs::path place = home.path() / std::to_string(step);
      fs::create_directory(place);
      std::map<std::string, std::string> shown;
      {
        const Mounted mounted(place, layers, options);
        list_directory(mounted.place(), "", shown);
      }
      std::string wrong = difference(list_tree(tree), shown);
      if (const auto lines = compare_layers(store, store_tree(store, tree), layers); !lines.empty())
        wrong += " fsck: " + lines.front();
      if (!wrong.empty())
        return "seed " + std::to_string(seed) + " history " + std::to_string(history) + " step " +
               std::to_string(step) + " (" + std::to_string(layers.size()) + " layers): " + wrong;
      for (auto edits = 1 + random() % 6; edits > 0; --edits) edit(tree, random);
    }
  }
  return deepest == 4 ? "" : "no stack of four layers, only " + std::to_string(deepest);
}

constexpr const char* kTrusted = "index=off,metacopy=off,redirect_dir=off";

}  // namespace

TEST_CASE("an overlay of the layers is the snapshot, whatever the history") {
  std::size_t deepest = 0;
  if (::geteuid() == 0) CHECK(in_own_mounts(false, [&] { return check_histories(1, 12, kTrusted, deepest); }).empty());
  const std::string said = in_own_mounts(true, [&] { return check_histories(2, 12, "userxattr", deepest); });
  if (::geteuid() != 0 && said.starts_with("unshare: ")) {
    WARN("no user namespaces here: " + said);
    return;
  }
  CHECK(said == "");
}

TEST_CASE("a run's changes stay out of the layers, and it may change everything") {
  const TempDir home;
  fs::create_directory(home.path() / "checkouts");
  MemoryStore store;
  Node tree{
      .children = {{"d", Node{.children = {{"old", file("old")}, {"gone", file("gone")}}}}, {"ballast", ballast()}}};
  Checkouts checkouts(store, home.path() / "checkouts", {});
  checkouts.acquire(store_tree(store, tree), "first");
  tree.children["d"].children.erase("gone");
  tree.children["d"].children["new"] = file("new", EntryType::kExecutable);
  const Hash id = store_tree(store, tree);
  const auto layers = checkouts.acquire(id, "second");
  REQUIRE(layers.size() == 2);
  const bool root = ::geteuid() == 0;
  const std::string said = in_own_mounts(!root, [&]() -> std::string {
    const Mounted mounted(home.path(), layers, root ? kTrusted : "userxattr");
    test::write_file(mounted.place() / "d/old", "changed");
    test::write_file(mounted.place() / "d/gone", "again");
    fs::remove_all(mounted.place() / "ballast");
    fs::create_directory(mounted.place() / "ballast");
    if (!fs::is_empty(mounted.place() / "ballast")) return "what was removed shows through";
    std::map<std::string, std::string> shown;
    list_directory(mounted.place(), "", shown);
    return difference({{"d", "d 755"},
                       {"d/old", "f 644 changed"},
                       {"d/gone", "f 644 again"},
                       {"d/new", "f 755 new"},
                       {"ballast", "d 755"}},
                      shown);
  });
  if (!root && said.starts_with("unshare: ")) {
    WARN("no user namespaces here: " + said);
    return;
  }
  CHECK(said == "");
  CHECK(checkouts.verify(id).empty());
}

}  // namespace runner::snapshot
