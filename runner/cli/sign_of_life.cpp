#include "runner/cli/sign_of_life.hpp"

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "runner/cli/terminal.hpp"

namespace runner::cli {

SignOfLife::SignOfLife(std::string text) {
  if (::isatty(STDERR_FILENO) != 1) return;
  thread_ = std::jthread([text = std::move(text)](const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any stopped;
    std::unique_lock lock(mutex);
    if (!stopped.wait_for(lock, stop, std::chrono::seconds(1), [&stop] { return stop.stop_requested(); }))
      print_error(text);
  });
}

}  // namespace runner::cli
