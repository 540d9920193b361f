#include "runner/os/control_file.hpp"

#include <algorithm>
#include <charconv>

#include "runner/os/file.hpp"

namespace runner::os {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const auto end = std::min(text.find(separator), text.size());
    parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

std::string trimmed_file(const std::filesystem::path& file) {
  std::string text = read_file_if_exists(file).value_or("");
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::optional<std::int64_t> as_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  return value;
}

std::optional<std::int64_t> keyed_number(const std::filesystem::path& file, std::string_view key) {
  const std::string text = trimmed_file(file);
  for (const auto line : split(text, '\n'))
    if (line.starts_with(key) && line.size() > key.size() && line[key.size()] == ' ')
      return as_number(line.substr(key.size() + 1));
  return std::nullopt;
}

}  // namespace runner::os
