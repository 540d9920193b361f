// What a script proves with whose run it is (docs/security.md): a token for each attempt of a run, made and checked
// with one key, and kept nowhere.
//   token = ID "." ATTEMPT "." MAC      MAC = base64url without padding (HMAC-SHA-256(key, ID NUL ATTEMPT))
// The first two only say which MAC is meant; ATTEMPT is a decimal number.
#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace runner::pipeline {

struct TokenOwner {
  std::string run;
  int attempt = 1;
  bool operator==(const TokenOwner&) const = default;
};

// Any thread.
class RunTokens {
 public:
  using Key = std::array<std::byte, 32>;
  explicit RunTokens(const Key& key) : key_(key) {}

  std::string token_of(const TokenOwner& owner) const;
  // Nothing for what token_of has not made. How long it takes says nothing of how much of it was right. Whether the
  // attempt lives is not looked at.
  std::optional<TokenOwner> owner_of(std::string_view token) const;

 private:
  std::string mac_of(std::string_view run, std::string_view attempt) const;
  Key key_;
};

// The key in `file` (mode 0600), made when there is none yet: by one daemon at a time. What is there and no key is
// replaced; then, and where the disk has no room for one (the key is this daemon's alone), the tokens of runs that live
// are worth nothing any more, and the log says so.
RunTokens open_run_tokens(const std::filesystem::path& file);

}  // namespace runner::pipeline
