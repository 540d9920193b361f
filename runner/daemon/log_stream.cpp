#include "runner/daemon/log_stream.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "runner/core/error.hpp"

namespace runner::daemon {
namespace {

constexpr std::string_view kContentType = "text/plain; charset=utf-8";
constexpr std::string_view kStandardLog = "user_logs/std_log.txt";
constexpr std::string_view kBuildLog = "system_logs/environment_build.log";

std::optional<Artifact> find_artifact(const store::History& history, const std::string& run, const std::string& name) {
  for (Artifact& artifact : history.artifacts(run))
    if (artifact.name == name) return std::move(artifact);
  return std::nullopt;
}

Error no_such_file(const std::string& run, const std::string& name) {
  return Error(ErrorCode::kNotFound, "run " + run + " has no file '" + name + "'", "`runner run files` lists them");
}

// The live log as far as it has got; advances `offset`.
void send_available(const os::Fd& file, std::int64_t& offset, Exchange& exchange) {
  std::array<std::byte, 65536> buffer;
  for (;;) {
    const ssize_t got = ::pread(file.get(), buffer.data(), buffer.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw errno_error(errno, "read the log");
    if (got == 0) return;
    exchange.write({buffer.data(), static_cast<std::size_t>(got)});
    offset += got;
  }
}

os::Fd open_live_log(const pipeline::Pipeline& pipeline, const std::string& run, const std::string& name) {
  std::filesystem::path file;
  if (name == kStandardLog) file = pipeline.data().run(run).log();
  if (name == kBuildLog) file = pipeline.live_build_log(run);
  return file.empty() ? os::Fd() : os::Fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
}

// What can be followed while it grows.
bool is_live(const std::string& name) { return name == kStandardLog || name == kBuildLog; }

bool awaits_environment(RunStatus status) {
  return status == RunStatus::kPreparing || status == RunStatus::kQueued || status == RunStatus::kNotStarted;
}

void send_stored(pipeline::Pipeline& pipeline, const Artifact& artifact, std::int64_t offset, Exchange& exchange) {
  if (offset < artifact.bytes)
    pipeline.content().read(artifact.sha256, offset, -1,
                            [&](std::span<const std::byte> piece) { exchange.write(piece); });
}

// The log of the build that the run waits for: as long as it waits.
void follow_build_log(pipeline::Pipeline& pipeline, const LogRequest& request, Exchange& exchange) {
  const auto subscription = pipeline.events().subscribe(request.run);
  constexpr std::chrono::milliseconds kLook{200};  // between two lines of progress the log grows silently
  std::int64_t offset = request.offset;
  os::Fd live;
  exchange.start_stream(200, kContentType, std::nullopt);
  for (;;) {
    subscription.clear();
    const bool over = !awaits_environment(pipeline.history().get(request.run).status);
    const auto stored = find_artifact(pipeline.history(), request.run, request.name);
    if (!live) live = open_live_log(pipeline, request.run, request.name);
    if (live) send_available(live, offset, exchange);
    if (stored) send_stored(pipeline, *stored, offset, exchange);
    if (stored || over) return exchange.finish_stream();
    if (!exchange.wait(subscription.fd(), kLook)) throw ClientGone{};
  }
}

// Where an artifact of an earlier attempt stands.
std::string name_in_attempt(const std::string& name, const RunRecord& run, int attempt) {
  return attempt < run.attempt ? "attempts/" + std::to_string(attempt) + "/" + name : name;
}

void follow_standard_log(pipeline::Pipeline& pipeline, const LogRequest& request, Exchange& exchange) {
  const auto subscription = pipeline.events().subscribe(request.run);
  std::int64_t offset = request.offset;
  os::Fd live;
  int attempt = request.attempt.value_or(pipeline.history().get(request.run).attempt);
  exchange.start_stream(200, kContentType, std::nullopt);
  for (;;) {
    subscription.clear();
    // Asked before the log is read: once the attempt is over its log is complete, so what is read then is all.
    RunRecord run = pipeline.history().get(request.run);
    if (!live && attempt == run.attempt) {
      live = open_live_log(pipeline, request.run, request.name);
      // The directory of the next attempt has the same name; the row changes before it does.
      if (live && pipeline.history().get(request.run).attempt != attempt) live.reset();
    }
    if (live) send_available(live, offset, exchange);
    if (const bool final = is_final(run.status); final || attempt < run.attempt) {
      if (!live)
        if (const auto stored =
                find_artifact(pipeline.history(), request.run, name_in_attempt(request.name, run, attempt)))
          send_stored(pipeline, *stored, offset, exchange);
      if (request.attempt || attempt >= run.attempt) return exchange.finish_stream();
      ++attempt;
      offset = 0;
      live.reset();
      continue;
    }
    // Shutting down: the stream is cut short on purpose, so that the client knows to ask again from where it stands.
    if (!exchange.wait(subscription.fd(), std::nullopt)) throw ClientGone{};
  }
}

}  // namespace

void stream_artifact(pipeline::Pipeline& pipeline, const std::string& run, const std::string& name,
                     Exchange& exchange) {
  const auto artifact = find_artifact(pipeline.history(), run, name);
  if (!artifact) throw no_such_file(run, name);
  exchange.start_stream(200, "application/octet-stream", artifact->bytes);
  send_stored(pipeline, *artifact, 0, exchange);
  exchange.finish_stream();
}

void stream_log(pipeline::Pipeline& pipeline, const LogRequest& request, Exchange& exchange) {
  if (request.follow && request.name == kStandardLog) return follow_standard_log(pipeline, request, exchange);
  if (request.follow && request.name == kBuildLog) return follow_build_log(pipeline, request, exchange);
  // A live run's log has no artifact yet; opened before the artifact is looked for, so that the moment between is
  // covered.
  os::Fd live = open_live_log(pipeline, request.run, request.name);
  const auto stored = find_artifact(pipeline.history(), request.run, request.name);
  if (!stored && !live) {
    // Not started yet, or cancelled before it was: what it printed is nothing.
    if (is_live(request.name))
      return exchange.respond({.status = 200, .body = "", .content_type = std::string(kContentType)});
    throw no_such_file(request.run, request.name);
  }
  std::int64_t offset = request.offset;
  if (stored) {
    exchange.start_stream(200, kContentType, std::max<std::int64_t>(0, stored->bytes - offset));
    send_stored(pipeline, *stored, offset, exchange);
  } else {
    exchange.start_stream(200, kContentType, std::nullopt);
    send_available(live, offset, exchange);
  }
  exchange.finish_stream();
}

}  // namespace runner::daemon
