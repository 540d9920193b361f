#include "runner/cli/cli.hpp"

#include <fcntl.h>
#include <signal.h>

#include <new>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "runner/cli/commands.hpp"
#include "runner/cli/invocation.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {
namespace {

constexpr int kOutputClosedExit = 141;  // 128 + SIGPIPE: what a program that does not catch it ends with

// A descriptor we open must never become 0, 1 or 2: the log would go into a socket or a file.
void open_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd)
    if (::fcntl(fd, F_GETFD) < 0) static_cast<void>(::open("/dev/null", O_RDWR));
}

int carry_out(const Command& command, const GlobalOptions& global) {
  if (const auto* help = std::get_if<HelpOptions>(&command)) {
    print(help->text);
    return 0;
  }
  if (std::holds_alternative<VersionOptions>(command)) {
    print(global.json ? "{\"version\": \"" RUNNER_VERSION "\"}\n" : "runner " RUNNER_VERSION "\n");
    return 0;
  }
  Session session(global);
  return std::visit(
      [&session](const auto& options) {
        using Options = std::decay_t<decltype(options)>;
        if constexpr (std::is_same_v<Options, HelpOptions> || std::is_same_v<Options, VersionOptions>)
          return 0;
        else
          return run(session, options);
      },
      command);
}

}  // namespace

int run_command_line(int argc, char** argv) noexcept {
  open_standard_descriptors();
  ::signal(SIGPIPE, SIG_IGN);
  GlobalOptions global;
  try {
    const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
    return carry_out(parse_invocation(arguments, global), global);
  } catch (const Error& error) {
    report(error, global.json);
    return exit_code(error.code());
  } catch (const OutputClosed&) {
    return kOutputClosedExit;
  } catch (const std::exception& error) {
    report(Error(ErrorCode::kInternal, error.what()), global.json);
    return exit_code(ErrorCode::kInternal);
  }
}

}  // namespace runner::cli
