#include "runner/daemon/log_source.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/shim/records.hpp"

namespace runner::daemon {
namespace {

constexpr std::int64_t kStep = 1 << 20;  // bytes looked through at once, from the end

std::optional<Artifact> find_artifact(const store::History& history, const std::string& run, const std::string& name) {
  for (Artifact& artifact : history.artifacts(run))
    if (artifact.name == name) return std::move(artifact);
  return std::nullopt;
}

}  // namespace

os::Fd open_live_log(const pipeline::Pipeline& pipeline, const std::string& run, const std::string& name) {
  std::filesystem::path file;
  if (name == kStandardLog) file = pipeline.data().run(run).log();
  if (name == kBuildLog) file = pipeline.live_build_log(run);
  return file.empty() ? os::Fd() : os::Fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
}

bool is_of_attempt(const pipeline::Pipeline& pipeline, const std::string& run, int attempt) {
  const auto claim = shim::read_claim(pipeline.data().run(run));
  return claim && claim->attempt == attempt;
}

std::int64_t read_live_log(const os::Fd& file, std::int64_t begin, std::int64_t end, const WriteSome& write) {
  std::array<std::byte, 65536> buffer;
  while (begin < end) {
    const auto wanted = static_cast<std::size_t>(std::min<std::int64_t>(end - begin, buffer.size()));
    const ssize_t got = ::pread(file.get(), buffer.data(), wanted, begin);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw errno_error(errno, "read the log");
    if (got == 0) break;
    write({buffer.data(), static_cast<std::size_t>(got)});
    begin += got;
  }
  return begin;
}

std::optional<LogSource> LogSource::open(pipeline::Pipeline& pipeline, const std::string& run,
                                         const std::string& name) {
  // Opened before the artifact is looked for, so that the moment between the two is covered.
  os::Fd live = open_live_log(pipeline, run, name);
  if (live && name == kStandardLog && !is_of_attempt(pipeline, run, pipeline.history().get(run).attempt)) live.reset();
  auto stored = find_artifact(pipeline.history(), run, name);
  if (!stored && !live) return std::nullopt;
  if (stored) live.reset();
  return LogSource(pipeline, std::move(live), std::move(stored));
}

std::optional<LogSource> LogSource::open_stored(pipeline::Pipeline& pipeline, const std::string& run,
                                                const std::string& name) {
  auto stored = find_artifact(pipeline.history(), run, name);
  if (!stored) return std::nullopt;
  return LogSource(pipeline, {}, std::move(stored));
}

std::int64_t LogSource::size() const {
  if (stored_) return stored_->bytes;
  struct ::stat info {};
  if (::fstat(live_.get(), &info) != 0) throw errno_error(errno, "read the log");
  return info.st_size;
}

void LogSource::read(std::int64_t begin, std::int64_t end, const WriteSome& write) const {
  if (begin >= end) return;
  if (stored_)
    pipeline_->content().read(stored_->sha256, begin, end - begin, write);
  else
    read_live_log(live_, begin, end, write);
}

std::int64_t LogSource::begin_of_last(std::int64_t lines) const {
  std::int64_t end = size();
  if (lines == 0) return end;
  std::string piece;
  for (bool last = true; end > 0;) {
    const std::int64_t begin = std::max<std::int64_t>(0, end - kStep);
    piece.clear();
    read(begin, end, [&](std::span<const std::byte> bytes) {
      piece.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    });
    std::string_view left = piece;
    if (std::exchange(last, false) && left.ends_with('\n')) left.remove_suffix(1);  // it ends the last line
    for (auto at = left.rfind('\n'); at != std::string_view::npos; at = left.rfind('\n')) {
      if (--lines == 0) return begin + static_cast<std::int64_t>(at) + 1;
      left = left.substr(0, at);
    }
    end = begin;
  }
  return 0;
}

}  // namespace runner::daemon
