#include "runner/pipeline/source_reading.hpp"

#include <pthread.h>

#include <exception>
#include <span>
#include <system_error>

#include "snapshot/snapshot.hpp"

namespace runner::pipeline {
namespace {

constexpr std::size_t kListedUntracked = 10'000;  // names; about 1 MB

// The ignore rules are snapshot/'s: exactly git's.
git::Untracked untracked_files() {
  return {.has = snapshot::has_untracked, .list = [](const std::filesystem::path& directory) {
            auto listed = snapshot::list_untracked(directory, kListedUntracked);
            return git::UntrackedFiles{.paths = std::move(listed.paths), .more = listed.more};
          }};
}

}  // namespace

SourceReading::SourceReading(const std::filesystem::path& directory) {
  std::error_code error;
  directory_ = std::filesystem::canonical(directory, error);
  if (error || !git::may_have_repository(directory_)) return;
  thread_ = std::jthread([this] {
    try {
      source_ = git::read_source(directory_, notes_, untracked_files());
    } catch (const std::exception& trouble) {  // the top of a worker; git never stops a run
      notes_.push_back(std::string("git: the repository cannot be read: ") + trouble.what());
    }
  });
  ::pthread_setname_np(thread_.native_handle(), "git-state");
}

std::optional<git::Source> SourceReading::finish(std::vector<std::string>& notes) {
  if (thread_.joinable()) thread_.join();
  notes.insert(notes.end(), notes_.begin(), notes_.end());
  return std::move(source_);
}

std::vector<Artifact> store_change(const git::Source& source, ContentWriter& content) {
  std::vector<Artifact> artifacts;
  if (source.patch.empty() && source.untracked.empty()) return artifacts;
  const auto batch = content.begin();
  const auto put = [&](std::string_view name, const std::string& text) {
    if (text.empty()) return;
    artifacts.push_back({.name = std::string(name),
                         .bytes = static_cast<std::int64_t>(text.size()),
                         .sha256 = batch->put(std::as_bytes(std::span(text)))});
  };
  put(kPatchName, source.patch);
  put(kUntrackedName, source.untracked);
  batch->commit();
  return artifacts;
}

}  // namespace runner::pipeline
