// A word on a terminal for what takes longer than a moment. Not for several threads at once.
#pragma once

#include <string>
#include <thread>

namespace runner::cli {

// Says on a terminal that something goes on, when it has taken a second.
class SignOfLife {
 public:
  explicit SignOfLife(std::string text);

 private:
  std::jthread thread_;
};

}  // namespace runner::cli
