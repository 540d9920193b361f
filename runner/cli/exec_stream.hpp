// The answer of POST /v1/runs/{run}/exec, application/vnd.runner.exec-stream: what a command writes, and how it ended.
//
//   frame   = kind, 3 zero bytes, length (4 bytes, big-endian), `length` bytes
//   kind    = 1 standard output | 2 standard error | 3 end: the exit status in decimal; once, last
//
// Pure: bytes in, bytes out. One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace runner::cli {

class ExecStream {
 public:
  using Write = std::function<void(std::string_view)>;
  ExecStream(Write output, Write error) : output_(std::move(output)), error_(std::move(error)) {}

  // The next piece, cut anywhere. Contents are handed on at once, not frame by frame. Error(kInternal) for bytes that
  // are no frame.
  void take(std::span<const std::byte> piece);

  // 0 to 255, once the end has come. Nothing: the stream is not complete.
  std::optional<int> exit_status() const { return exit_status_; }

 private:
  void begin_frame();
  void end_frame();

  Write output_;
  Write error_;
  std::array<unsigned char, 8> header_{};
  std::size_t header_size_ = 0;  // of the header, so far
  std::uint32_t left_ = 0;       // of the contents
  std::string status_;
  std::optional<int> exit_status_;
};

}  // namespace runner::cli
