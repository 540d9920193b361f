#include "snapshot/stat_cache_source.hpp"

#include <array>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>

namespace runner::snapshot {
namespace {

// What every version of the format begins with (stat_cache.hpp): "runner stat cache N" LF, length32, path.
constexpr std::string_view kBeginning = "runner stat cache ";
constexpr std::size_t kLongestPath = 4096;  // PATH_MAX

}  // namespace

std::optional<std::filesystem::path> stat_cache_source(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::array<char, kBeginning.size() + 2> first{};  // and the version, one digit so far
  std::uint32_t length = 0;
  if (!stream.read(first.data(), first.size()) || std::string_view(first.data(), kBeginning.size()) != kBeginning ||
      first.back() != '\n' || !stream.read(reinterpret_cast<char*>(&length), sizeof length) || length == 0 ||
      length > kLongestPath)
    return std::nullopt;
  std::string source(length, '\0');
  if (!stream.read(source.data(), static_cast<std::streamsize>(length)) || source.front() != '/') return std::nullopt;
  return source;
}

}  // namespace runner::snapshot
