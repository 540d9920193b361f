// The stream of a pull (one JSON object a line) as one line for people.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "runner/engine/json_lines.hpp"

namespace runner::engine {

class PullProgress {
 public:
  void feed(std::string_view piece);
  // "3 of 5 layers, 120.0 MiB of 480.0 MiB"; before a layer is known, what the registry says.
  std::string line() const;
  const std::string& error() const { return error_; }  // the Engine's, should the pull fail

 private:
  struct Layer {
    std::int64_t current = 0;
    std::int64_t total = 0;
    bool done = false;
  };
  void take(std::string_view object);

  JsonLines lines_;
  std::map<std::string, Layer> layers_;
  std::string status_;
  std::string error_;
};

}  // namespace runner::engine
