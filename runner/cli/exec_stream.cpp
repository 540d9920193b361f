#include "runner/cli/exec_stream.hpp"

#include <algorithm>
#include <charconv>

#include "runner/core/error.hpp"

namespace runner::cli {
namespace {

enum Kind : unsigned char { kOutput = 1, kError = 2, kEnd = 3 };
constexpr std::uint32_t kMostStatusDigits = 3;

Error damaged(const char* why) {
  return Error(ErrorCode::kInternal, std::string("exec: the daemon's answer is damaged: ") + why,
               "'runner daemon logs' may say why");
}

}  // namespace

void ExecStream::take(std::span<const std::byte> piece) {
  std::string_view bytes(reinterpret_cast<const char*>(piece.data()), piece.size());
  while (!bytes.empty()) {
    if (exit_status_) throw damaged("it goes on behind its end");
    if (header_size_ < header_.size()) {
      header_[header_size_++] = static_cast<unsigned char>(bytes.front());
      bytes.remove_prefix(1);
      if (header_size_ == header_.size()) begin_frame();
      continue;
    }
    const std::string_view contents = bytes.substr(0, std::min<std::size_t>(left_, bytes.size()));
    if (header_[0] == kOutput)
      output_(contents);
    else if (header_[0] == kError)
      error_(contents);
    else
      status_ += contents;
    left_ -= static_cast<std::uint32_t>(contents.size());
    bytes.remove_prefix(contents.size());
    if (left_ == 0) end_frame();
  }
}

void ExecStream::begin_frame() {
  if (header_[0] < kOutput || header_[0] > kEnd || header_[1] != 0 || header_[2] != 0 || header_[3] != 0)
    throw damaged("not a frame");
  for (std::size_t i = 4; i < header_.size(); ++i) left_ = left_ << 8 | header_[i];
  if (header_[0] == kEnd && left_ > kMostStatusDigits) throw damaged("not an exit status");
  if (left_ == 0) end_frame();
}

void ExecStream::end_frame() {
  header_size_ = 0;
  if (header_[0] != kEnd) return;
  int status = -1;
  const auto [end, error] = std::from_chars(status_.data(), status_.data() + status_.size(), status);
  if (error != std::errc{} || end != status_.data() + status_.size() || status < 0 || status > 255)
    throw damaged("not an exit status");
  exit_status_ = status;
}

}  // namespace runner::cli
