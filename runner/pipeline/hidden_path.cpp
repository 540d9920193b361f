#include "runner/pipeline/hidden_path.hpp"

#include <array>

namespace runner::pipeline {
namespace {

constexpr std::array<std::string_view, 4> kComplaints{"No such file or directory", "not found", "does not exist",
                                                      "cannot open"};

bool complains(std::string_view line) {
  for (const std::string_view complaint : kComplaints)
    if (line.find(complaint) != std::string_view::npos) return true;
  return false;
}

// A path runs to the quote that opened it, or to the first blank or colon.
std::string path_at(std::string_view line, std::size_t slash) {
  std::size_t end = std::string_view::npos;
  if (slash > 0 && (line[slash - 1] == '\'' || line[slash - 1] == '"')) end = line.find(line[slash - 1], slash);
  if (end == std::string_view::npos) end = line.find_first_of(" \t:;,'\"", slash);
  return std::string(line.substr(slash, end == std::string_view::npos ? end : end - slash));
}

}  // namespace

std::optional<std::string> hidden_path_in(std::string_view log_end,
                                          const std::function<bool(const std::string&)>& exists_on_host) {
  while (!log_end.empty()) {
    const auto newline = log_end.find('\n');
    const std::string_view line = log_end.substr(0, newline);
    log_end.remove_prefix(newline == std::string_view::npos ? log_end.size() : newline + 1);
    if (!complains(line)) continue;
    for (auto slash = line.find('/'); slash != std::string_view::npos; slash = line.find('/', slash + 1)) {
      const bool starts_word = slash == 0 || line.find_first_of(" \t'\"=(:", slash - 1) == slash - 1;
      if (!starts_word) continue;
      const std::string path = path_at(line, slash);
      if (path.size() > 1 && exists_on_host(path)) return path;
    }
  }
  return std::nullopt;
}

}  // namespace runner::pipeline
