#include "envs/requirements_text.hpp"

#include <cstdint>

#include "runner/core/error.hpp"

namespace runner::envs {
namespace {

void append_utf8(std::string& to, std::uint32_t point) {
  const auto add = [&](std::uint32_t byte) { to += static_cast<char>(byte); };
  if (point < 0x80) {
    add(point);
  } else if (point < 0x800) {
    add(0xC0 | (point >> 6));
    add(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    add(0xE0 | (point >> 12));
    add(0x80 | ((point >> 6) & 0x3F));
    add(0x80 | (point & 0x3F));
  } else {
    add(0xF0 | (point >> 18));
    add(0x80 | ((point >> 12) & 0x3F));
    add(0x80 | ((point >> 6) & 0x3F));
    add(0x80 | (point & 0x3F));
  }
}

// Without its byte order mark; an unpaired surrogate becomes U+FFFD.
std::string from_utf16(std::string_view bytes, bool big_endian) {
  const auto unit = [&](std::size_t i) {
    const auto first = static_cast<std::uint8_t>(bytes[i]);
    const auto second = static_cast<std::uint8_t>(bytes[i + 1]);
    return static_cast<std::uint32_t>(big_endian ? first << 8 | second : second << 8 | first);
  };
  std::string text;
  for (std::size_t i = 2; i + 1 < bytes.size(); i += 2) {
    const std::uint32_t high = unit(i);
    if (high < 0xD800 || high > 0xDFFF) {
      append_utf8(text, high);
    } else if (high < 0xDC00 && i + 3 < bytes.size() && unit(i + 2) >= 0xDC00 && unit(i + 2) <= 0xDFFF) {
      append_utf8(text, 0x10000 + ((high - 0xD800) << 10) + (unit(i + 2) - 0xDC00));
      i += 2;
    } else {
      append_utf8(text, 0xFFFD);
    }
  }
  return text;
}

// The length of the UTF-8 sequence at the beginning; 0: it is none.
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::size_t length = byte(0) < 0x80   ? 1
                             : byte(0) < 0xC2 ? 0
                             : byte(0) < 0xE0 ? 2
                             : byte(0) < 0xF0 ? 3
                             : byte(0) < 0xF5 ? 4
                                              : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  return length;
}

std::string decoded(std::string_view bytes, const std::string& label, int first_line) {
  if (bytes.starts_with("\xFF\xFE")) return from_utf16(bytes, false);
  if (bytes.starts_with("\xFE\xFF")) return from_utf16(bytes, true);
  if (bytes.starts_with("\xEF\xBB\xBF")) bytes.remove_prefix(3);
  int line = first_line;
  for (std::size_t i = 0; i < bytes.size();) {
    if (bytes[i] == '\n') ++line;
    const std::size_t length = sequence_length(bytes.substr(i));
    if (length == 0 || bytes[i] == '\0')
      throw Error(ErrorCode::kInvalid, label + ":" + std::to_string(line) + ": not a text in UTF-8",
                  "save the file as UTF-8");
    i += length;
  }
  return std::string(bytes);
}

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\v' || c == '\f'; }

// Where a comment begins, or the end.
std::size_t comment_at(std::string_view line) {
  for (std::size_t i = 0; i < line.size(); ++i)
    if (line[i] == '#' && (i == 0 || is_blank(line[i - 1]))) return i;
  return line.size();
}

std::string trimmed(std::string_view line) {
  while (!line.empty() && is_blank(line.front())) line.remove_prefix(1);
  while (!line.empty() && is_blank(line.back())) line.remove_suffix(1);
  return std::string(line);
}

std::vector<std::string_view> physical_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = text.find_first_of("\r\n");
    lines.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + (text.substr(end).starts_with("\r\n") ? 2 : 1));
  }
  return lines;
}

}  // namespace

std::vector<RequirementsLine> requirements_lines(std::string_view bytes, const std::string& label, int first_line) {
  const std::string text = decoded(bytes, label, first_line);
  std::vector<RequirementsLine> result;
  RequirementsLine joined{.number = first_line, .text = {}};
  const auto finish = [&] {
    joined.text = trimmed(joined.text.substr(0, comment_at(joined.text)));
    if (!joined.text.empty()) result.push_back(joined);
    joined.text.clear();
  };
  bool continued = false;
  int number = first_line;
  for (const auto line : physical_lines(text)) {
    if (!continued) joined.number = number;
    ++number;
    // A comment takes no continuation, and one after a continuation stays a comment.
    const bool is_comment = trimmed(line).starts_with('#');
    continued = line.ends_with('\\') && !is_comment;
    joined.text += (is_comment ? " " : "") + std::string(continued ? line.substr(0, line.size() - 1) : line);
    if (!continued) finish();
  }
  finish();
  return result;
}

void require_one_line(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto rest = text.substr(i);
    const bool control = (byte < ' ' && byte != '\t') || byte == 0x7F;
    // U+0080 to U+009F, U+2028 and U+2029.
    const bool wide = (byte == 0xC2 && rest.size() > 1 && static_cast<unsigned char>(rest[1]) < 0xA0) ||
                      rest.starts_with("\xE2\x80\xA8") || rest.starts_with("\xE2\x80\xA9");
    if (control || wide)
      throw Error(ErrorCode::kInvalid,
                  "'" + std::string(text.substr(0, i)) + "': a line break or another control character behind it",
                  "each requirement stands on a line, or in a text, of its own");
  }
}

std::vector<std::string> shell_words(std::string_view text) {
  std::vector<std::string> words;
  bool inside = false;
  char quote = '\0';
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote == '\0' && is_blank(c)) {
      inside = false;
      continue;
    }
    if (!inside) words.emplace_back();
    inside = true;
    if (quote == '\0' && (c == '"' || c == '\''))
      quote = c;
    else if (quote != '\0' && c == quote)
      quote = '\0';
    else if (c == '\\' && quote != '\'' && i + 1 < text.size())
      words.back() += text[++i];
    else
      words.back() += c;
  }
  if (quote != '\0') throw Error(ErrorCode::kInvalid, "a quote is not closed");
  return words;
}

}  // namespace runner::envs
