// runnerd: the daemon's command line. Usually started by the first `runner` command that needs it.
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "runner/core/error.hpp"
#include "runner/core/sanitized.hpp"
#include "runner/daemon/daemon.hpp"
#include "runner/os/fd.hpp"
#include "runner/os/file.hpp"

namespace {

using runner::Error;
using runner::ErrorCode;

constexpr std::string_view kUsage =
    "usage: runnerd [--home DIR] [--socket PATH] [--ready-fd N]\n"
    "  --home DIR      data directory (RUNNER_HOME, else $XDG_DATA_HOME/runner, else ~/.local/share/runner)\n"
    "  --socket PATH   control socket (DIR/control.sock)\n"
    "  --ready-fd N    write \"ready\" or \"error CODE<TAB>MESSAGE<TAB>HINT\" to this descriptor once known\n";

struct Arguments {
  runner::daemon::DaemonOptions daemon;
  runner::os::Fd ready;
};

std::filesystem::path default_home() {
  if (const char* home = std::getenv("RUNNER_HOME"); home && *home) return std::filesystem::absolute(home);
  if (const char* base = std::getenv("XDG_DATA_HOME"); base && *base == '/')
    return std::filesystem::path(base) / "runner";
  const char* home = std::getenv("HOME");
  if (!home || *home != '/') throw Error(ErrorCode::kInvalid, "HOME is not set", "use --home DIR");
  return std::filesystem::path(home) / ".local" / "share" / "runner";
}

void parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--help") {
      std::fwrite(kUsage.data(), 1, kUsage.size(), stdout);
      std::exit(0);
    }
    if (option == "--version") {
      std::puts("runnerd " RUNNER_VERSION);
      std::exit(0);
    }
    if (i + 1 == argc)
      throw Error(ErrorCode::kInvalid, std::string(option) + ": unknown option or missing value", "runnerd --help");
    const std::string_view value = argv[++i];
    if (option == "--home") {
      arguments.daemon.home = std::filesystem::absolute(value).lexically_normal();
    } else if (option == "--socket") {
      arguments.daemon.socket = std::filesystem::absolute(value);
    } else if (option == "--ready-fd") {
      int fd = -1;
      std::from_chars(value.data(), value.data() + value.size(), fd);
      if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) throw Error(ErrorCode::kInvalid, "--ready-fd: not an open descriptor");
      arguments.ready.reset(fd);
    } else {
      throw Error(ErrorCode::kInvalid, std::string(option) + ": unknown option", "runnerd --help");
    }
  }
  if (arguments.daemon.home.empty()) arguments.daemon.home = default_home();
}

// Whoever started us may have gone; that is no reason to stop.
void tell(runner::os::Fd& ready, const std::string& line) {
  if (!ready) return;
  try {
    runner::os::write_all(ready.get(), line, "--ready-fd");
  } catch (const Error&) {
  }
  ready.reset();
}

// Trees are walked recursively, on every thread that walks one: 2 000 levels of up to 1.5 KiB. Without this a thread
// has what `ulimit -s` says, and only 2 MiB where that is "unlimited".
void keep_stacks_large() {
  constexpr std::size_t kStackBytes = runner::kSanitized ? 32 << 20 : 8 << 20;
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, kStackBytes);
  ::pthread_setattr_default_np(&attributes);
  ::pthread_attr_destroy(&attributes);
}

}  // namespace

// glibc keeps what large snapshots freed, per thread: with these an idle daemon stays small (13–19 MB less after 20 000
// files).
void keep_memory_small() {
  constexpr int kArenas = 2;
  constexpr int kThreshold = 128 << 10;  // bytes; setting it also stops glibc from raising it
  ::mallopt(M_ARENA_MAX, kArenas);
  ::mallopt(M_MMAP_THRESHOLD, kThreshold);
  ::mallopt(M_TRIM_THRESHOLD, kThreshold);
}

int main(int argc, char** argv) {
  keep_memory_small();
  keep_stacks_large();
  Arguments arguments;
  try {
    parse(argc, argv, arguments);
    ::signal(SIGPIPE, SIG_IGN);
    spdlog::set_default_logger(spdlog::stderr_logger_mt("runnerd"));
    spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
    if (::chdir("/") != 0) throw Error(ErrorCode::kInternal, "chdir /");
    runner::daemon::run_daemon(arguments.daemon, [&] { tell(arguments.ready, "ready\n"); });
    return 0;
  } catch (const Error& error) {
    tell(arguments.ready,
         "error " + std::string(to_string(error.code())) + "\t" + error.message() + "\t" + error.hint() + "\n");
    std::fprintf(stderr, "runnerd: error: %s\n", error.what());
    if (!error.hint().empty()) std::fprintf(stderr, "hint: %s\n", error.hint().c_str());
    return exit_code(error.code());
  } catch (const std::exception& error) {
    tell(arguments.ready, std::string("error internal\t") + error.what() + "\t\n");
    std::fprintf(stderr, "runnerd: error: %s\n", error.what());
    return exit_code(ErrorCode::kInternal);
  }
}
