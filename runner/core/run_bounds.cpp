#include "runner/core/run_bounds.hpp"

#include "runner/core/error.hpp"

namespace runner {
namespace {

constexpr std::string_view kLeftOut = "…";

std::string quoted(std::string_view key) {
  constexpr std::size_t kShown = 64;  // bytes
  return "'" + shortened(std::string(key), kShown) + "'";
}

Error too_long(const std::string& what, std::size_t most) {
  return Error(ErrorCode::kInvalid, what + " is longer than " + std::to_string(most) + " bytes");
}

}  // namespace

void check_run_name(const std::string& where, std::string_view name) {
  if (name.size() > kMaxRunName) throw too_long(where + ": 'name'", kMaxRunName);
}

void check_key(const std::string& where, const std::string& member, std::string_view key) {
  const std::string of = where + ": '" + member + "': the key ";
  if (key.empty()) throw Error(ErrorCode::kInvalid, of + "may not be empty");
  if (key.size() > kMaxKey) throw too_long(of + quoted(key), kMaxKey);
}

void check_value(const std::string& where, const std::string& member, std::string_view key, std::string_view value) {
  if (value.size() > kMaxValue) throw too_long(where + ": '" + member + "': the value of " + quoted(key), kMaxValue);
}

void check_count(const std::string& where, const std::string& member, std::size_t count) {
  if (count > kMaxTags)
    throw Error(ErrorCode::kInvalid,
                where + ": '" + member + "' has more than " + std::to_string(kMaxTags) + " entries");
}

std::string shortened(std::string text, std::size_t most) {
  if (text.size() <= most) return text;
  std::size_t end = most < kLeftOut.size() ? 0 : most - kLeftOut.size();
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80) --end;
  text.resize(end);
  if (most >= kLeftOut.size()) text += kLeftOut;
  return text;
}

}  // namespace runner
