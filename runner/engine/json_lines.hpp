// Streams of the Engine: one JSON object a line, in pieces that end anywhere.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace runner::engine {

class JsonLines {
 public:
  template <class Take>
  void feed(std::string_view piece, Take&& take) {
    rest_ += piece;
    std::size_t begin = 0;
    for (auto end = rest_.find('\n'); end != std::string::npos; end = rest_.find('\n', begin)) {
      take(std::string_view(rest_).substr(begin, end - begin));
      begin = end + 1;
    }
    rest_.erase(0, begin);
    if (rest_.size() > kMostLine) rest_.clear();
  }

 private:
  static constexpr std::size_t kMostLine = 1 << 20;  // bytes; a longer line is no message of an Engine

  std::string rest_;
};

}  // namespace runner::engine
