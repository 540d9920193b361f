#include <unistd.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/exec_stream.hpp"
#include "runner/cli/log_display.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {
namespace {

// Never asked again by itself, unlike a log: the command would run twice.
Error cut_off() {
  return Error(ErrorCode::kUnavailable, "exec: the connection ended before the command did; it may still run",
               "'runner show RUN' tells how the run stands, 'runner daemon logs' may say why");
}

// What a command says inside of a run may be the script's words: as a log, it is trusted by nobody.
std::optional<LogDisplay> display_on(int descriptor, const ExecOptions& options) {
  if (options.raw || ::isatty(descriptor) != 1) return std::nullopt;
  return LogDisplay(terminal_width(descriptor), false);
}

}  // namespace

int run(Session& session, const ExecOptions& options) {
  const std::string body = [&] {
    try {
      return Json{{"command", options.words}}.dump();
    } catch (const Json::exception&) {
      throw Error(ErrorCode::kInvalid, "exec: a word of the command is not UTF-8");
    }
  }();
  std::optional<LogDisplay> output = display_on(STDOUT_FILENO, options);
  std::optional<LogDisplay> error = display_on(STDERR_FILENO, options);
  ExecStream stream([&](std::string_view bytes) { output ? print(output->take(bytes)) : print(bytes); },
                    [&](std::string_view bytes) { error ? print_error(error->take(bytes)) : print_error(bytes); });
  try {
    session.client().stream(
        "POST", run_target(options.run, "/exec"), [&](std::span<const std::byte> piece) { stream.take(piece); }, body);
  } catch (const http::ConnectionLost&) {  // harmless behind the last frame
  }
  if (output) print(output->finish());
  if (error) print_error(error->finish());
  if (!stream.exit_status()) throw cut_off();
  return *stream.exit_status();
}

}  // namespace runner::cli
