#include "runner/cli/terminal.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "runner/http/message.hpp"

namespace runner::cli {
namespace {

// One code point of UTF-8; length 0: the bytes at the front are not UTF-8.
struct CodePoint {
  char32_t value = 0;
  std::size_t length = 0;
};

CodePoint decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1};
  std::size_t length = 0;
  char32_t value = 0;
  char32_t least = 0;  // smaller values would have a shorter form, which makes this one a disguise
  if ((first & 0xE0) == 0xC0) {
    length = 2, value = first & 0x1Fu, least = 0x80;
  } else if ((first & 0xF0) == 0xE0) {
    length = 3, value = first & 0x0Fu, least = 0x800;
  } else if ((first & 0xF8) == 0xF0) {
    length = 4, value = first & 0x07u, least = 0x10000;
  } else {
    return {};
  }
  if (text.size() < length) return {};
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    value = value << 6 | (byte(i) & 0x3Fu);
  }
  if (value < least || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return {};
  return {value, length};
}

bool is_harmful(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c <= 0x9F)  // C0, DEL, C1 (which holds a one-byte CSI)
         || (c >= 0x200E && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) ||
         (c >= 0x2066 && c <= 0x2069)  // order, lines
         || c == 0x061C || c == 0xFEFF;
}

std::size_t width_of(char32_t c) {
  if ((c >= 0x300 && c <= 0x36F) || (c >= 0x200B && c <= 0x200D) || (c >= 0xFE00 && c <= 0xFE0F)) return 0;
  const bool wide = (c >= 0x1100 && c <= 0x115F) || (c >= 0x2E80 && c <= 0xA4CF) || (c >= 0xAC00 && c <= 0xD7A3) ||
                    (c >= 0xF900 && c <= 0xFAFF) || (c >= 0xFE30 && c <= 0xFE6F) || (c >= 0xFF00 && c <= 0xFF60) ||
                    (c >= 0xFFE0 && c <= 0xFFE6) || (c >= 0x1F300 && c <= 0x1F64F) || (c >= 0x1F900 && c <= 0x1F9FF) ||
                    (c >= 0x20000 && c <= 0x3FFFD);
  return wide ? 2 : 1;
}

}  // namespace

void print(std::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = ::write(STDOUT_FILENO, text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0 && errno == EAGAIN) {  // a terminal that somebody left in non-blocking mode
      pollfd ready{STDOUT_FILENO, POLLOUT, 0};
      static_cast<void>(::poll(&ready, 1, -1));
      continue;
    }
    if (wrote < 0 && errno == EPIPE) throw OutputClosed{};
    if (wrote < 0) throw errno_error(errno, "write to standard output");
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
}

void print_error(std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t wrote = ::write(STDERR_FILENO, text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
}

void report(const Error& error, bool json) noexcept {
  try {
    if (json) {
      print_error(http::error_json(error) + "\n");
      return;
    }
    std::string text =
        coloured("runner: error:", Colour::kRed, Stream::kError) + " " + printable(error.message()) + "\n";
    if (!error.hint().empty()) text += "hint: " + printable(error.hint()) + "\n";
    print_error(text);
  } catch (const std::exception&) {
    print_error("runner: error: out of memory\n");
  }
}

std::string printable(std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  std::array<char, 16> escape{};
  while (!text.empty()) {
    const CodePoint point = decode(text);
    const std::size_t length = std::max<std::size_t>(point.length, 1);
    if (point.length > 0 && !is_harmful(point.value)) {
      clean.append(text.substr(0, length));
    } else if (text[0] == '\n' || text[0] == '\t' || text[0] == '\r') {
      clean.append(text[0] == '\n' ? "\\n" : text[0] == '\t' ? "\\t" : "\\r");
    } else {
      const unsigned value =
          point.length > 0 ? static_cast<unsigned>(point.value) : static_cast<unsigned char>(text[0]);
      std::snprintf(escape.data(), escape.size(), value > 0xFF ? "\\u%04x" : "\\x%02x", value);
      clean.append(escape.data());
    }
    text.remove_prefix(length);
  }
  return clean;
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    const CodePoint point = decode(text);
    width += point.length > 0 ? width_of(point.value) : 1;
    text.remove_prefix(std::max<std::size_t>(point.length, 1));
  }
  return width;
}

std::string shortened(std::string_view text, std::size_t width) {
  if (display_width(text) <= width) return std::string(text);
  if (width == 0) return {};
  std::string kept;
  std::size_t used = 0;
  while (!text.empty()) {
    const CodePoint point = decode(text);
    const std::size_t length = std::max<std::size_t>(point.length, 1);
    const std::size_t columns = point.length > 0 ? width_of(point.value) : 1;
    if (used + columns > width - 1) break;
    kept.append(text.substr(0, length));
    used += columns;
    text.remove_prefix(length);
  }
  return kept + "…";
}

std::size_t terminal_width() {
  winsize size{};
  if (::isatty(STDOUT_FILENO) != 1) return 0;
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

std::string coloured(std::string_view text, Colour colour, Stream stream) {
  static const auto allowed = [](int fd) {
    const char* no_color = std::getenv("NO_COLOR");  // https://no-color.org: set and not empty
    const char* terminal = std::getenv("TERM");
    return (no_color == nullptr || *no_color == '\0') && ::isatty(fd) == 1 &&
           (terminal == nullptr || std::string_view(terminal) != "dumb");
  };
  if (colour == Colour::kNone) return std::string(text);
  static const bool out = allowed(STDOUT_FILENO);
  static const bool err = allowed(STDERR_FILENO);
  if (!(stream == Stream::kOut ? out : err)) return std::string(text);
  constexpr std::array<std::string_view, 7> kCodes{"", "32", "31", "33", "34", "2", "1"};
  return "\x1b[" + std::string(kCodes[static_cast<std::size_t>(colour)]) + "m" + std::string(text) + "\x1b[0m";
}

std::string printable_with_tabs(std::string_view line) {
  std::string text;
  for (;;) {
    const std::size_t tab = line.find('\t');
    text += printable(line.substr(0, tab));
    if (tab == std::string_view::npos) return text;
    text += '\t';
    line.remove_prefix(tab + 1);
  }
}

}  // namespace runner::cli
