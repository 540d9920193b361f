#include "runner/collect/outputs.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "runner/collect/gatherer.hpp"
#include "runner/core/error.hpp"
#include "runner/os/fd.hpp"

namespace runner::collect {
namespace {

using std::filesystem::path;

os::Fd open_alone(const path& file) {
  return os::Fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
}

}  // namespace

Collected gather(const path& upper, ContentBatch& batch, const std::stop_token& stop) {
  const os::Fd root(::open(upper.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) {
    if (errno == ENOENT) return {};
    throw errno_error(errno, "open " + upper.string());
  }
  Bounds spent;
  Gatherer gatherer(batch, stop, spent);
  for (const char* top : {"outputs", "logs"}) {
    struct ::stat info {};
    if (::fstatat(root.get(), top, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISREG(info.st_mode)) {
      gatherer.notice(top, "a file where a directory was expected, not stored");
      continue;
    }
    gatherer.entry(root.get(), top, top, 0);
  }
  return gatherer.take();
}

Collected gather_below(const path& directory, const std::string& name, ContentBatch& batch,
                       const std::stop_token& stop) {
  os::Fd root(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  Bounds spent;
  Gatherer gatherer(batch, stop, spent, {.unlocks = false});
  if (root)
    gatherer.below(std::move(root), name, 0);
  else if (errno != ENOENT)
    gatherer.notice(name, directory.string() + ": not stored: " + std::strerror(errno));
  return gatherer.take();
}

Collected gather_one(const path& file, const std::string& name, ContentBatch& batch, const std::stop_token& stop) {
  Bounds spent;
  Gatherer gatherer(batch, stop, spent);
  if (const os::Fd fd = open_alone(file))
    gatherer.file(fd, name);
  else if (errno != ENOENT)
    gatherer.notice(name, std::string("not stored: ") + std::strerror(errno));
  return gatherer.take();
}

std::optional<Artifact> gather_file(const path& file, const std::string& name, ContentBatch& batch,
                                    const std::stop_token& stop) {
  const os::Fd fd = open_alone(file);
  if (!fd) {
    if (errno == ENOENT) return std::nullopt;
    throw errno_error(errno, "open " + file.string());
  }
  Bounds spent;
  Gatherer gatherer(batch, stop, spent);
  gatherer.file(fd, name, true);
  Collected collected = gatherer.take();
  if (collected.stopped) return std::nullopt;
  if (collected.artifacts.empty()) throw Error(ErrorCode::kInternal, collected.notices.front());
  return std::move(collected.artifacts.front());
}

}  // namespace runner::collect
