// `gc`, `fsck` and `backup`: work on the connection's thread, told while it lasts.
#include <nlohmann/json.hpp>
#include <span>

#include "runner/api/store_document.hpp"
#include "runner/core/error.hpp"
#include "runner/daemon/request_values.hpp"
#include "runner/daemon/routes.hpp"
#include "runner/os/clock.hpp"
#include "runner/pipeline/backup.hpp"
#include "runner/pipeline/fsck.hpp"
#include "runner/pipeline/gc.hpp"

namespace runner::daemon {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kLook{100};   // between two looks at whether the client and the daemon are still there
constexpr milliseconds kTell{1000};  // between two signs of life

// An answer of lines: {"progress": "…"}* and then {"result": {…}} or {"error": {…}}. Starts with the first line: an
// error before that is an ordinary error response.
class LineAnswer {
 public:
  explicit LineAnswer(Exchange& exchange) : exchange_(exchange) {}

  // ClientGone when nobody listens any more, Error(kUnavailable) when the daemon stops: the work ends then.
  void progress(const std::string& doing) {
    const auto now = os::monotonic_now();
    if (now - looked_ < kLook) return;
    looked_ = now;
    if (!exchange_.wait(-1, milliseconds{0}))
      throw Error(ErrorCode::kUnavailable, "the daemon is stopping", "ask again: what is done stays done");
    if (now - told_ < kTell) return;
    told_ = now;
    write(api::progress_line(doing));
  }

  void finish(const std::string& document) {
    write(api::result_line(document));
    exchange_.finish_stream();
  }

  void fail(const Error& error) {
    if (!started_) throw error;
    write(http::error_json(error) + "\n");
    exchange_.finish_stream();
  }

 private:
  void write(const std::string& line) {
    if (!started_) exchange_.start_stream(200, "application/x-ndjson", std::nullopt);
    started_ = true;
    exchange_.write(std::as_bytes(std::span(line)));
  }

  Exchange& exchange_;
  bool started_ = false;
  std::chrono::nanoseconds looked_{os::monotonic_now()};
  std::chrono::nanoseconds told_{os::monotonic_now()};
};

// `work` is given what to call now and then, and returns the document.
template <class Work>
void answer_in_lines(Exchange& exchange, const Work& work) {
  LineAnswer answer(exchange);
  try {
    answer.finish(work([&answer](const std::string& doing) { answer.progress(doing); }));
  } catch (const Error& error) {  // the top of a request: part of it may have been answered
    answer.fail(error);
  }
}

}  // namespace

void Routes::gc(const http::Request& request, Exchange& exchange) {
  const auto body = body_of(request);
  const auto& configuration = pipeline_.configuration();
  const bool keep_caches = truth_in(body, "keepCaches");
  const pipeline::GcOptions options{.explain = truth_in(body, "explain"),
                                    .dry_run = truth_in(body, "dryRun"),
                                    .keep_caches = keep_caches,
                                    .patience = keep_caches ? seconds{10} : seconds{60},
                                    .environment_bytes = configuration.environment_bytes,
                                    .environment_age = configuration.environment_age};
  answer_in_lines(exchange, [&](const pipeline::Doing& doing) {
    return api::gc_document(pipeline::collect_garbage({.content = pipeline_.content(),
                                                       .history = pipeline_.history(),
                                                       .checkouts = pipeline_.checkouts(),
                                                       .environments = pipeline_.environments(),
                                                       .prepared = pipeline_.prepared(),
                                                       .data = pipeline_.data()},
                                                      options, doing));
  });
}

void Routes::fsck(const http::Request& request, Exchange& exchange) {
  const auto body = body_of(request);
  const pipeline::FsckOptions options{.repair = truth_in(body, "repair")};
  answer_in_lines(exchange, [&](const pipeline::Doing& doing) {
    return api::fsck_document(pipeline::check_everything(pipeline_.content(), pipeline_.history(),
                                                         pipeline_.checkouts(), pipeline_.data(), options, doing));
  });
}

void Routes::backup(const http::Request& request, Exchange& exchange) {
  const std::string path = absolute_path(body_of(request), "path");
  const std::unique_lock lock(backing_up_, std::try_to_lock);
  if (!lock) throw Error(ErrorCode::kConflict, "a backup is under way", "wait for its end");
  answer_in_lines(exchange, [&](const pipeline::Doing& doing) {
    const pipeline::BackedUp made = pipeline::back_up(pipeline_.data(), path, doing);
    return nlohmann::ordered_json{{"path", path},
                                  {"bytes", made.bytes},
                                  {"historyBytes", made.history_bytes},
                                  {"contentBytes", made.content_bytes}}
        .dump();
  });
}

}  // namespace runner::daemon
