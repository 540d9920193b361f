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

#include "runner/cli/code_point.hpp"
#include "runner/http/message.hpp"

namespace runner::cli {

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

bool can_ask() { return ::isatty(STDIN_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1; }

bool confirmed(std::string_view question) {
  print_error(std::string(question) + " [y/N] ");
  std::string line;
  for (char byte = 0; line.size() < 16;) {
    const ssize_t got = ::read(STDIN_FILENO, &byte, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) print_error("\n");  // the end instead of a line
    if (got <= 0 || byte == '\n') break;
    line += static_cast<char>(byte >= 'A' && byte <= 'Z' ? byte - 'A' + 'a' : byte);
  }
  return line == "y" || line == "yes";
}

void report(const Error& error, bool json) noexcept {
  try {
    if (json) {
      print_error(json_text(http::error_json(error), Stream::kError));
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
  while (!text.empty()) {
    const CodePoint point = decode(text);
    const std::size_t length = std::max<std::size_t>(point.length, 1);
    if (point.length > 0 && !is_harmful(point.value)) {
      clean.append(text.substr(0, length));
    } else if (text[0] == '\n' || text[0] == '\t' || text[0] == '\r') {
      clean.append(text[0] == '\n' ? "\\n" : text[0] == '\t' ? "\\t" : "\\r");
    } else {
      clean.append(point.length > 0 ? escaped(point.value) : escaped_byte(text[0]));
    }
    text.remove_prefix(length);
  }
  return clean;
}

std::string json_text(std::string_view document, Stream stream) {
  std::string text;
  if (::isatty(stream == Stream::kOut ? STDOUT_FILENO : STDERR_FILENO) != 1) return text.append(document) + "\n";
  while (!document.empty()) {
    const CodePoint point = decode(document);
    const std::size_t length = std::max<std::size_t>(point.length, 1);
    // Below a blank are only line ends, between values; in texts they are escaped already.
    if (point.length > 0 && point.value > ' ' && is_harmful(point.value)) {
      std::array<char, 16> escape{};
      std::snprintf(escape.data(), escape.size(), "\\u%04x", static_cast<unsigned>(point.value));
      text += escape.data();
    } else {
      text += document.substr(0, length);
    }
    document.remove_prefix(length);
  }
  return text + "\n";
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

std::size_t terminal_width(int descriptor) {
  winsize size{};
  if (::isatty(descriptor) != 1) return 0;
  if (::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
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
