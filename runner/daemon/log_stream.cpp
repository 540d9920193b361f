#include "runner/daemon/log_stream.hpp"

#include <algorithm>
#include <limits>
#include <string_view>

#include "runner/core/error.hpp"
#include "runner/daemon/log_source.hpp"
#include "runner/http/byte_range.hpp"

namespace runner::daemon {
namespace {

constexpr std::string_view kContentType = "text/plain; charset=utf-8";
constexpr std::int64_t kToTheEnd = std::numeric_limits<std::int64_t>::max();

Error no_such_file(const std::string& run, const std::string& name) {
  return Error(ErrorCode::kNotFound, "run " + run + " has no file '" + name + "'", "`runner run files` lists them");
}

// What can be followed while it grows.
bool is_live(const std::string& name) { return name == kStandardLog || name == kBuildLog; }

bool awaits_environment(RunStatus status) {
  return status == RunStatus::kPreparing || status == RunStatus::kQueued || status == RunStatus::kNotStarted;
}

// A reader that does not keep up waits here, on its own thread; at the time-out for writing it is let go.
WriteSome into(Exchange& exchange) {
  return [&exchange](std::span<const std::byte> piece) { exchange.write(piece); };
}

void tell_offset(Exchange& exchange, std::int64_t offset) {
  exchange.set_header(http::kOffsetHeader, std::to_string(offset));
}

void refuse_contradictions(const LogRequest& request) {
  const bool part = request.offset > 0 || request.limit;
  const int ways = (part ? 1 : 0) + (request.head ? 1 : 0) + (request.tail ? 1 : 0);
  if (ways > 1)
    throw Error(ErrorCode::kInvalid,
                "log: 'head', 'tail' and 'offset' with 'limit' are three ways, not to be combined");
  if (request.follow && (request.head || request.limit))
    throw Error(ErrorCode::kInvalid, "log: 'follow' goes on to the end, 'head' and 'limit' stop before it");
}

void send_all(const LogSource& source, std::int64_t begin, std::int64_t end, std::string_view type,
              Exchange& exchange) {
  tell_offset(exchange, begin);
  exchange.start_stream(200, type, std::max<std::int64_t>(0, end - begin));
  source.read(begin, end, into(exchange));
  exchange.finish_stream();
}

void send_range(const LogSource& source, const std::string& range, std::string_view type, Exchange& exchange) {
  const std::int64_t size = source.size();
  const http::RangeAnswer answer = http::resolve_range(range, size);
  if (answer.whole) return send_all(source, 0, size, type, exchange);
  if (!answer.part) {
    exchange.set_header("Content-Range", "bytes */" + std::to_string(size));
    return exchange.respond(
        {.status = 416,
         .body = http::error_json(
             Error(ErrorCode::kInvalid, "Range: " + range + ": the file has " + std::to_string(size) + " bytes"))});
  }
  const auto [begin, end] = *answer.part;
  exchange.set_header("Content-Range",
                      "bytes " + std::to_string(begin) + "-" + std::to_string(end - 1) + "/" + std::to_string(size));
  exchange.start_stream(206, type, end - begin);
  source.read(begin, end, into(exchange));
  exchange.finish_stream();
}

// The end of the first lines is known only when it has been read: nothing of the length is announced.
void send_head(const LogSource& source, std::int64_t lines, Exchange& exchange) {
  struct Enough {};
  tell_offset(exchange, 0);
  exchange.start_stream(200, kContentType, std::nullopt);
  try {
    if (lines == 0) throw Enough{};
    source.read(0, source.size(), [&](std::span<const std::byte> piece) {
      std::size_t end = 0;
      while (end < piece.size() && lines > 0)
        if (piece[end++] == std::byte{'\n'}) --lines;
      exchange.write(piece.first(end));
      if (lines == 0) throw Enough{};
    });
  } catch (const Enough&) {
  }
  exchange.finish_stream();
}

// Where an artifact of an earlier attempt stands.
std::string name_in_attempt(const std::string& name, const RunRecord& run, int attempt) {
  return attempt < run.attempt ? "attempts/" + std::to_string(attempt) + "/" + name : name;
}

// Where to begin in the log of an attempt.
std::int64_t first_byte(pipeline::Pipeline& pipeline, const LogRequest& request, int attempt) {
  if (!request.tail) return request.offset;
  const RunRecord run = pipeline.history().get(request.run);
  const auto source = attempt < run.attempt
                          ? LogSource::open_stored(pipeline, request.run, name_in_attempt(request.name, run, attempt))
                          : LogSource::open(pipeline, request.run, request.name);
  return source ? source->begin_of_last(*request.tail) : 0;
}

// The log of the build that the run waits for: as long as it waits.
void follow_build_log(pipeline::Pipeline& pipeline, const LogRequest& request, Exchange& exchange) {
  const auto subscription = pipeline.events().subscribe(request.run);
  constexpr std::chrono::milliseconds kLook{200};  // between two lines of progress the log grows silently
  std::int64_t offset = first_byte(pipeline, request, pipeline.history().get(request.run).attempt);
  os::Fd live;
  tell_offset(exchange, offset);
  exchange.start_stream(200, kContentType, std::nullopt);
  for (;;) {
    subscription.clear();
    const bool over = !awaits_environment(pipeline.history().get(request.run).status);
    const auto stored = LogSource::open_stored(pipeline, request.run, request.name);
    if (!live) live = open_live_log(pipeline, request.run, request.name);
    if (live) offset = read_live_log(live, offset, kToTheEnd, into(exchange));
    if (stored) stored->read(offset, stored->size(), into(exchange));
    if (stored || over) return exchange.finish_stream();
    if (!exchange.wait(subscription.fd(), kLook)) throw ClientGone{};
  }
}

void follow_standard_log(pipeline::Pipeline& pipeline, const LogRequest& request, Exchange& exchange) {
  const auto subscription = pipeline.events().subscribe(request.run);
  os::Fd live;
  int attempt = request.attempt.value_or(pipeline.history().get(request.run).attempt);
  std::int64_t offset = first_byte(pipeline, request, attempt);
  tell_offset(exchange, offset);
  exchange.start_stream(200, kContentType, std::nullopt);
  for (;;) {
    subscription.clear();
    // Asked before the log is read: once the attempt is over its log is complete, so what is read then is all.
    RunRecord run = pipeline.history().get(request.run);
    if (!live && attempt == run.attempt) {
      live = open_live_log(pipeline, request.run, request.name);
      // The directories of all attempts have the same name, one after the other.
      if (live && !is_of_attempt(pipeline, request.run, attempt)) live.reset();
    }
    if (live) offset = read_live_log(live, offset, kToTheEnd, into(exchange));
    if (const bool final = is_final(run.status); final || attempt < run.attempt) {
      if (!live)
        if (const auto stored =
                LogSource::open_stored(pipeline, request.run, name_in_attempt(request.name, run, attempt)))
          stored->read(offset, stored->size(), into(exchange));
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
                     const std::optional<std::string>& range, Exchange& exchange) {
  constexpr std::string_view kBytes = "application/octet-stream";
  const auto source = LogSource::open_stored(pipeline, run, name);
  if (!source) throw no_such_file(run, name);
  exchange.set_header("Accept-Ranges", "bytes");
  if (range) return send_range(*source, *range, kBytes, exchange);
  send_all(*source, 0, source->size(), kBytes, exchange);
}

void stream_log(pipeline::Pipeline& pipeline, const LogRequest& request, Exchange& exchange) {
  refuse_contradictions(request);
  if (request.follow && is_live(request.name)) exchange.expect_to_wait();
  if (request.follow && request.name == kStandardLog) return follow_standard_log(pipeline, request, exchange);
  if (request.follow && request.name == kBuildLog) return follow_build_log(pipeline, request, exchange);
  const auto source = LogSource::open(pipeline, request.run, request.name);
  if (!source) {
    // Not started yet, or cancelled before it was: what it printed is nothing.
    if (is_live(request.name))
      return exchange.respond({.status = 200, .body = "", .content_type = std::string(kContentType)});
    throw no_such_file(request.run, request.name);
  }
  exchange.set_header("Accept-Ranges", "bytes");
  if (request.head) return send_head(*source, *request.head, exchange);
  const bool plain = request.offset == 0 && !request.limit && !request.tail;
  if (request.range && plain) return send_range(*source, *request.range, kContentType, exchange);
  // As far as it has got by now: a script that prints faster than somebody reads must not make an answer without end.
  const std::int64_t size = source->size();
  const std::int64_t begin = std::min(request.tail ? source->begin_of_last(*request.tail) : request.offset, size);
  const std::int64_t end = request.limit && *request.limit < size - begin ? begin + *request.limit : size;
  send_all(*source, begin, end, kContentType, exchange);
}

}  // namespace runner::daemon
