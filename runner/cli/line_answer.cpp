#include "runner/cli/line_answer.hpp"

#include <unistd.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "runner/cli/terminal.hpp"
#include "runner/core/error.hpp"
#include "runner/os/clock.hpp"

namespace runner::cli {
namespace {

class Answer {
 public:
  ~Answer() { clear(); }

  void take(std::string_view line) {
    Json document = parse_document(line);
    if (document.contains("error")) {
      clear();
      throw http::error_from({.status = 500, .body = std::string(line)});
    }
    if (document.contains("result"))
      result = std::move(document["result"]);
    else
      show(text_at(document, "progress"));
  }

  std::optional<Json> result;

 private:
  void show(const std::string& doing) {
    if (doing.empty()) return;
    if (::isatty(STDERR_FILENO) != 0) {
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(os::monotonic_now() - begun_).count();
      print_error("\r\x1b[K" + printable(doing) + " (" + std::to_string(seconds) + " s)");
      shown_ = true;
    } else if (doing != told_) {
      print_error("runner: " + printable(doing) + "\n");
    }
    told_ = doing;
  }
  void clear() {
    if (std::exchange(shown_, false)) print_error("\r\x1b[K");
  }

  const std::chrono::nanoseconds begun_ = os::monotonic_now();
  std::string told_;
  bool shown_ = false;
};

}  // namespace

Json post_for_lines(Session& session, std::string_view target, const Json& body) {
  Answer answer;
  std::string pending;
  session.client().stream(
      "POST", target,
      [&](std::span<const std::byte> piece) {
        pending.append(reinterpret_cast<const char*>(piece.data()), piece.size());
        for (std::size_t end = 0; (end = pending.find('\n')) != std::string::npos;) {
          const std::string line = pending.substr(0, end);
          pending.erase(0, end + 1);
          answer.take(line);
        }
      },
      dump_document(body));
  if (!answer.result) throw Error(ErrorCode::kInternal, "the daemon's answer is not complete");
  return std::move(*answer.result);
}

}  // namespace runner::cli
