#include "runner/collect/handed_over.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "runner/collect/gatherer.hpp"
#include "runner/core/artifact_name.hpp"

namespace runner::collect {
namespace {

constexpr std::string_view kUnfinished = ".new-";
constexpr std::string_view kOfRun = ".run-";

std::string path_of(const JournalArtifact& file) {
  return file.run.empty() ? file.name : std::string(kOfRun) + file.run + "/" + file.name;
}

}  // namespace

bool is_unfinished_name(std::string_view name) { return name.starts_with(kUnfinished) || name.starts_with(kOfRun); }

HandedOverFiles::HandedOverFiles(const std::filesystem::path& directory)
    : directory_(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) {}

Collected HandedOverFiles::take(const JournalArtifact& file, ContentBatch& batch, Bounds& spent,
                                const std::stop_token& stop) const {
  Gatherer gatherer(batch, stop, spent);
  const auto refuse = [&](const std::string& why) {
    gatherer.notice(file.name, "not stored: " + why);
    return gatherer.take();
  };
  if (is_unfinished_name(file.name)) return refuse("names that begin so are for files that are not complete");
  if (is_own_artifact_name(file.name)) return refuse("files of such names are the runner's own");
  if (spent.artifacts >= kMaxArtifacts || spent.name_bytes + file.name.size() > kMaxAllNames)
    return refuse("a run keeps at most " + std::to_string(kMaxArtifacts) + " files");
  const os::Fd fd = open_beneath(directory_.get(), path_of(file).c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!fd) return refuse(errno == ENOENT ? "it is named in the metric journal, and not there" : std::strerror(errno));
  struct ::stat info {};
  if (::fstat(fd.get(), &info) == 0 && S_ISREG(info.st_mode) && info.st_size == 0 && file.bytes > 0)
    return refuse("somebody has emptied it");
  gatherer.file(fd, file.name);
  Collected collected = gatherer.take();
  if (!collected.artifacts.empty() && collected.artifacts.front().bytes != file.bytes)
    collected.notices.push_back(shortened(file.name) + ": it has " + std::to_string(collected.artifacts.front().bytes) +
                                " bytes, where the metric journal says " + std::to_string(file.bytes));
  return collected;
}

void HandedOverFiles::empty(const JournalArtifact& file) const {
  const os::Fd fd = open_beneath(directory_.get(), path_of(file).c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY);
  struct ::stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_nlink != 1) return;
  [[maybe_unused]] const int done = ::ftruncate(fd.get(), 0);  // else it goes with the directory
}

std::map<std::string, Collected> HandedOverFiles::gather_left(ContentBatch& batch, Bounds& spent,
                                                              const IsTaken& is_taken,
                                                              const std::stop_token& stop) const {
  std::map<std::string, Collected> left;
  const auto gather_run = [&](const os::Fd& directory, const std::string& run) {
    std::vector<std::string> runs;
    const auto leaves_out = [&](const std::string& name) { return is_own_artifact_name(name) || is_taken(run, name); };
    Gatherer gatherer(batch, stop, spent, {.leaves_out = leaves_out});
    for (const auto& [name, text] : as_texts(gatherer.names_in(directory, "artifacts"))) {
      if (gatherer.stopped()) break;
      if (name.starts_with(kOfRun)) runs.push_back(name);
      if (!is_unfinished_name(name)) gatherer.entry(directory.get(), name, text, 0);
    }
    left[run] = gatherer.take();
    return runs;
  };
  if (!directory_) return left;
  for (const std::string& name : gather_run(directory_, "")) {
    if (stop.stop_requested()) break;
    if (is_taken(name.substr(kOfRun.size()), "")) continue;  // whatever it holds
    const os::Fd directory = open_beneath(directory_.get(), name.c_str(), O_RDONLY | O_DIRECTORY);
    if (directory) gather_run(directory, name.substr(kOfRun.size()));
  }
  return left;
}

}  // namespace runner::collect
