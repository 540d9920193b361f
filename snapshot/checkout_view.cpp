#include "snapshot/checkout_view.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "runner/core/error.hpp"
#include "runner/os/fd.hpp"
#include "runner/os/file.hpp"
#include "snapshot/tree_object.hpp"

namespace runner::snapshot {
namespace {

constexpr std::size_t kMostLines = 100;
constexpr std::size_t kPiece = 1U << 18;  // bytes

// SHA-256 of what comes in pieces.
class Digest {
 public:
  Digest() : context_(::EVP_MD_CTX_new(), ::EVP_MD_CTX_free) {
    // Fetched once: it would cost more than a small file.
    static EVP_MD* const algorithm = ::EVP_MD_fetch(nullptr, "SHA256", nullptr);
    if (!context_ || ::EVP_DigestInit_ex(context_.get(), algorithm, nullptr) != 1)
      throw Error(ErrorCode::kInternal, "start SHA-256");
  }
  void update(std::span<const std::byte> bytes) {
    if (::EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1)
      throw Error(ErrorCode::kInternal, "compute SHA-256");
  }
  Hash finish() {
    Hash hash;
    if (::EVP_DigestFinal_ex(context_.get(), hash.bytes.data(), nullptr) != 1)
      throw Error(ErrorCode::kInternal, "finish SHA-256");
    return hash;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

// Component by component: no link is followed, and depth is no matter of PATH_MAX or of descriptors.
os::Fd open_below(const std::filesystem::path& root, std::string_view path, int flags) {
  os::Fd at = os::open_file(root, (path.empty() ? flags : O_PATH | O_DIRECTORY) | O_NOFOLLOW);
  while (!path.empty()) {
    const std::string name(path.substr(0, path.find('/')));
    path.remove_prefix(std::min(name.size() + 1, path.size()));
    os::Fd next(
        ::openat(at.get(), name.c_str(), (path.empty() ? flags : O_PATH | O_DIRECTORY) | O_NOFOLLOW | O_CLOEXEC));
    if (!next) throw errno_error(errno, "open " + root.string() + "/…/" + name);
    at = std::move(next);
  }
  return at;
}

// What a name of the merged directory stands for.
struct Seen {
  std::size_t layer = 0;  // that decides
  struct ::stat info {};
  std::vector<std::size_t> merged{};  // of a directory: the layers that have a part of it
  bool closed = false;                // no layer below counts any more
};

class LayerComparison {
 public:
  LayerComparison(const ContentReader& store, const std::vector<std::filesystem::path>& layers)
      : store_(store), layers_(layers) {}

  void compare(const Hash& tree, const std::string& path, const std::vector<std::size_t>& parts) {
    if (lines_.size() >= kMostLines) return;
    std::vector<TreeEntry> entries;
    try {
      const std::string text = store_.read_all(tree);
      if (sha256(text) != tree) return;
      entries = decode_tree(text);
    } catch (const Error&) {
      return;  // says nothing about these layers
    }
    std::map<std::string, Seen> seen;
    try {
      seen = look(path, parts);
    } catch (const Error& error) {
      return note(path, error.message());
    }
    for (const TreeEntry& entry : entries) {
      const std::string name = path.empty() ? entry.name : path + "/" + entry.name;
      const auto at = seen.find(entry.name);
      if (at == seen.end())
        note(name, "is missing");
      else
        compare_entry(entry, name, at->second);
      if (at != seen.end()) seen.erase(at);
    }
    for (const auto& [name, info] : seen) note(path.empty() ? name : path + "/" + name, "is not in the snapshot");
  }

  std::vector<std::string> take() { return std::move(lines_); }

 private:
  void note(const std::string& path, const std::string& what) {
    if (lines_.size() < kMostLines) lines_.push_back((path.empty() ? "." : path) + ": " + what);
  }

  // As overlayfs: the topmost layer that has a name decides; directories merge until something else, or a whiteout,
  // ends it.
  std::map<std::string, Seen> look(const std::string& path, const std::vector<std::size_t>& parts) const {
    std::map<std::string, Seen> seen;
    for (const std::size_t layer : parts) {
      os::Fd directory = open_below(layers_[layer], path, O_RDONLY | O_DIRECTORY);
      const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(directory.get()), ::closedir);
      if (!stream) throw errno_error(errno, "read " + layers_[layer].string() + "/" + path);
      const int fd = directory.release();
      while (const dirent* found = ::readdir(stream.get())) {
        const std::string name = found->d_name;
        if (name == "." || name == "..") continue;
        struct ::stat info {};
        if (::fstatat(fd, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) throw errno_error(errno, "stat " + name);
        const auto [at, first] = seen.try_emplace(name, Seen{.layer = layer, .info = info});
        if (at->second.closed) continue;
        if (S_ISDIR(info.st_mode))
          at->second.merged.push_back(layer);
        else
          at->second.closed = true;
      }
    }
    std::erase_if(seen, [](const auto& at) {
      return S_ISCHR(at.second.info.st_mode) && at.second.info.st_rdev == ::makedev(0, 0);
    });
    return seen;
  }

  void compare_entry(const TreeEntry& entry, const std::string& path, const Seen& seen) {
    const mode_t mode = seen.info.st_mode;
    switch (entry.type) {
      case EntryType::kDirectory:
        if (!S_ISDIR(mode)) return note(path, "is no directory");
        if ((mode & 07777) != 0755) note(path, "its mode differs");
        return compare(entry.content, path, seen.merged);
      case EntryType::kSymlink:
        if (!S_ISLNK(mode)) return note(path, "is no symbolic link");
        return compare_content(entry, path, seen, true);
      case EntryType::kFile:
      case EntryType::kExecutable:
        if (!S_ISREG(mode)) return note(path, "is no file");
        if ((mode & 07777) != (entry.type == EntryType::kFile ? 0644U : 0755U)) note(path, "its mode differs");
        return compare_content(entry, path, seen, false);
    }
  }

  void compare_content(const TreeEntry& entry, const std::string& path, const Seen& seen, bool link) {
    if (seen.info.st_size != entry.bytes) return note(path, "its size differs");
    try {
      if (!(link ? same_link(entry, path, seen) : same_file(entry, path, seen))) note(path, "its content differs");
    } catch (const Error& error) {
      note(path, error.message());
    }
  }

  bool same_link(const TreeEntry& entry, const std::string& path, const Seen& seen) const {
    const os::Fd fd = open_below(layers_[seen.layer], path, O_PATH);
    std::array<char, 4096> text;  // PATH_MAX
    const ssize_t length = ::readlinkat(fd.get(), "", text.data(), text.size());
    if (length < 0) throw errno_error(errno, "readlink");
    return sha256(std::string_view(text.data(), static_cast<std::size_t>(length))) == entry.content;
  }

  bool same_file(const TreeEntry& entry, const std::string& path, const Seen& seen) {
    const os::Fd fd = open_below(layers_[seen.layer], path, O_RDONLY);
    Digest digest;
    for (;;) {
      const ssize_t some = ::read(fd.get(), buffer_.data(), buffer_.size());
      if (some < 0 && errno == EINTR) continue;
      if (some < 0) throw errno_error(errno, "read");
      if (some == 0) return digest.finish() == entry.content;
      digest.update(std::span(buffer_).first(static_cast<std::size_t>(some)));
    }
  }

  const ContentReader& store_;
  const std::vector<std::filesystem::path>& layers_;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(kPiece);
  std::vector<std::string> lines_;
};

}  // namespace

std::vector<std::string> compare_layers(const ContentReader& store, const Hash& snapshot,
                                        const std::vector<std::filesystem::path>& layers) {
  std::vector<std::size_t> parts(layers.size());
  for (std::size_t i = 0; i < parts.size(); ++i) parts[i] = i;
  LayerComparison comparison(store, layers);
  comparison.compare(snapshot, "", parts);
  return comparison.take();
}

}  // namespace runner::snapshot
