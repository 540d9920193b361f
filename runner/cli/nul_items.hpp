// Long lists between daemon and terminal: items that each end in a NUL byte come in pieces, lines go out in pieces.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "runner/cli/terminal.hpp"
#include "runner/core/error.hpp"

namespace runner::cli {

class NulItems {
 public:
  explicit NulItems(std::function<void(std::string_view)> use) : use_(std::move(use)) {}

  void take(std::span<const std::byte> piece) {
    std::string_view rest(reinterpret_cast<const char*>(piece.data()), piece.size());
    for (std::size_t end = rest.find('\0'); end != std::string_view::npos; end = rest.find('\0')) {
      if (begun_.empty()) {
        use_(rest.substr(0, end));
      } else {
        use_(begun_.append(rest.substr(0, end)));
        begun_.clear();
      }
      rest.remove_prefix(end + 1);
    }
    begun_ += rest;
  }
  // Error(kInternal) if the last item was cut off.
  void finish() const {
    if (!begun_.empty()) throw Error(ErrorCode::kInternal, "the daemon's list ends within an item");
  }

 private:
  std::function<void(std::string_view)> use_;
  std::string begun_;
};

// Standard output, 64 KiB at a time; `flush` at the end.
class PrintBuffer {
 public:
  PrintBuffer& operator<<(std::string_view text) {
    text_ += text;
    if (text_.size() >= (std::size_t{64} << 10)) flush();
    return *this;
  }
  void flush() {
    print(text_);
    text_.clear();
  }

 private:
  std::string text_;
};

}  // namespace runner::cli
