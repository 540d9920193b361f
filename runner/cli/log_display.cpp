#include "runner/cli/log_display.hpp"

#include <algorithm>
#include <utility>

#include "runner/cli/code_point.hpp"

namespace runner::cli {
namespace {

constexpr std::size_t kLongestLine = 64 << 10;   // bytes that wait for their line's end
constexpr std::size_t kLongestEscape = 64;       // bytes; a longer one is no style
constexpr std::size_t kMostStyles = 256;         // bytes
constexpr std::string_view kErase = "\r\x1b[K";  // the row
constexpr std::string_view kPlain = "\x1b[0m";

bool is_plain(char c) { return c >= 0x20 && c < 0x7F; }

// The length of the style sequence (SGR) that our own output holds at its front; 0: there is none.
std::size_t style_at(std::string_view text) {
  if (!text.starts_with("\x1b[")) return 0;
  const auto end = text.find('m');
  return end == std::string_view::npos ? 0 : end + 1;
}

// As much as fits into so many columns, styles whole.
std::string cut(std::string_view text, std::size_t columns) {
  std::string kept;
  while (!text.empty()) {
    std::size_t length = style_at(text);
    if (length == 0) {
      const CodePoint point = decode(text);
      length = std::max<std::size_t>(point.length, 1);
      // A tab takes up to eight; what is cut too early is still shown when the line ends.
      const std::size_t width = text[0] == '\t' ? 8 : width_of(point.value);
      if (width > columns) break;
      columns -= width;
    }
    kept.append(text.substr(0, length));
    text.remove_prefix(length);
  }
  return kept;
}

}  // namespace

std::string LogDisplay::take(std::string_view bytes) {
  std::string joined;
  std::string_view text = bytes;
  if (!pending_.empty()) {
    joined = std::exchange(pending_, {}).append(bytes);
    text = joined;
  }
  while (!text.empty() && pending_.empty()) read(text, false);
  if (overflown_)
    out_ += std::exchange(line_, {});
  else if (live_)
    show_unfinished();
  return std::exchange(out_, {});
}

std::string LogDisplay::finish() {
  const std::string rest = std::exchange(pending_, {});
  for (std::string_view text = rest; !text.empty();) read(text, true);
  if (line_ != shown_) {
    erase_shown();
    out_ += line_;
  }
  if (!styles_.empty()) out_ += kPlain;
  line_.clear();
  shown_.clear();
  styles_.clear();
  return std::exchange(out_, {});
}

// Takes something off the front of the text; leaves it in `pending_` if more of it must come first.
void LogDisplay::read(std::string_view& text, bool last) {
  const auto run = static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), is_plain) - text.begin());
  if (run > 0) {
    put(text.substr(0, run));
    return text.remove_prefix(run);
  }
  const char c = text[0];
  if (c == '\x1b') {
    if (read_escape(text, last)) return;
  } else if (static_cast<unsigned char>(c) >= 0x80) {
    const CodePoint point = decode(text);
    if (point.length == 0 && !last && is_cut_short(text)) {
      pending_ = text;
      return text.remove_prefix(text.size());
    }
    if (point.length == 0)
      put(escaped_byte(c));
    else
      put(is_harmful(point.value) ? escaped(point.value) : std::string(text.substr(0, point.length)));
    return text.remove_prefix(std::max<std::size_t>(point.length, 1));
  } else if (c == '\n') {
    end_line();
  } else if (c == '\r') {
    returned_ = true;
  } else if (c == '\b') {
    erase_one();
  } else if (c == '\t') {
    put("\t");
  } else {
    put(std::string{'^', static_cast<char>(c ^ 0x40)});
  }
  text.remove_prefix(1);
}

// A style is taken whole; any other escape is made visible and goes on as text. True: nothing more is to be done.
bool LogDisplay::read_escape(std::string_view& text, bool last) {
  const auto is_parameter = [](char c) { return (c >= '0' && c <= '9') || c == ';' || c == ':'; };
  const std::string_view window = text.substr(0, kLongestEscape);
  if (window.size() == 1 || window[1] == '[') {
    std::size_t end = std::min<std::size_t>(2, window.size());
    while (end < window.size() && is_parameter(window[end])) ++end;
    if (end < window.size() && window[end] == 'm') {
      put_style(window.substr(0, end + 1));
      text.remove_prefix(end + 1);
      return true;
    }
    if (end == text.size() && end < kLongestEscape && !last) {
      pending_ = text;
      text.remove_prefix(text.size());
      return true;
    }
  }
  put("^[");
  return false;
}

void LogDisplay::put(std::string_view shown) {
  if (returned_) start_over();
  line_.append(shown);
  if (line_.size() <= kLongestLine) return;
  erase_shown();
  out_ += std::exchange(line_, {});
  overflown_ = true;
}

void LogDisplay::put_style(std::string_view sequence) {
  put(sequence);
  style_end_ = line_.size();
  const std::string_view parameters = sequence.substr(2, sequence.size() - 3);
  if (parameters.empty() || parameters == "0")
    styles_.clear();
  else if (styles_.size() < kMostStyles)
    styles_.append(sequence);
}

// Some progress bars go back by backspaces. Styles stay.
void LogDisplay::erase_one() {
  if (returned_) return;
  std::size_t end = line_.size();
  while (end > 0 && (static_cast<unsigned char>(line_[end - 1]) & 0xC0) == 0x80) --end;
  if (line_.size() == style_end_) return;  // not into an escape: what is left of one could become another
  if (end > 0) line_.erase(end - 1);
}

void LogDisplay::end_line() {
  returned_ = false;
  if (line_ != shown_) {
    erase_shown();
    out_ += line_;
  }
  out_ += '\n';
  line_.clear();
  shown_.clear();
  overflown_ = false;
}

void LogDisplay::start_over() {
  returned_ = false;
  if (std::exchange(overflown_, false)) {
    out_ += line_;
    out_ += '\n';
  }
  line_ = styles_;
  style_end_ = line_.size();
}

void LogDisplay::erase_shown() {
  if (!std::exchange(shown_, {}).empty()) out_ += kErase;
}

void LogDisplay::show_unfinished() {
  std::string now = cut(line_, columns_ > 1 ? columns_ - 1 : 1);
  if (now == shown_) return;
  if (!shown_.empty() && now.starts_with(shown_)) {
    out_ += std::string_view(now).substr(shown_.size());
  } else {
    erase_shown();
    out_ += now;
  }
  shown_ = std::move(now);
}

}  // namespace runner::cli
