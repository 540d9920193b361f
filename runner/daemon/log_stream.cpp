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

os::Fd open_live_log(const pipeline::Pipeline& pipeline, const std::string& run) {
  return os::Fd(::open(pipeline.data().run(run).log().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
}

void send_stored(pipeline::Pipeline& pipeline, const Artifact& artifact, std::int64_t offset, Exchange& exchange) {
  if (offset < artifact.bytes)
    pipeline.content().read(artifact.sha256, offset, -1,
                            [&](std::span<const std::byte> piece) { exchange.write(piece); });
}

void follow_standard_log(pipeline::Pipeline& pipeline, const LogRequest& request, Exchange& exchange) {
  const auto subscription = pipeline.events().subscribe(request.run);
  std::int64_t offset = request.offset;
  os::Fd live;
  exchange.start_stream(200, kContentType, std::nullopt);
  for (;;) {
    subscription.clear();
    // Asked before the log is read: once the run is final its log is complete, so what is read then is all.
    const bool final = is_final(pipeline.history().get(request.run).status);
    if (!live) live = open_live_log(pipeline, request.run);
    if (live) send_available(live, offset, exchange);
    if (final) {
      if (!live)
        if (const auto stored = find_artifact(pipeline.history(), request.run, request.name))
          send_stored(pipeline, *stored, offset, exchange);
      return exchange.finish_stream();
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
  // A live run's log has no artifact yet; opened before the artifact is looked for, so that the moment between is
  // covered.
  os::Fd live = request.name == kStandardLog ? open_live_log(pipeline, request.run) : os::Fd();
  const auto stored = find_artifact(pipeline.history(), request.run, request.name);
  if (!stored && !live) {
    // Not started yet, or cancelled before it was: what it printed is nothing.
    if (request.name == kStandardLog)
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
