#include "runner/pipeline/run_token.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <spdlog/spdlog.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <span>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::pipeline {
namespace {

// RFC 4648, section 5, without padding.
std::string base64url(std::span<const unsigned char> bytes) {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    unsigned group = 0;
    for (std::size_t j = 0; j < 3; ++j) group = group << 8 | (j < count ? bytes[i + j] : 0U);
    for (std::size_t j = 0; j <= count; ++j) text += kLetters[group >> (18 - 6 * j) & 63];
  }
  return text;
}

RunTokens::Key random_key() {
  RunTokens::Key key{};
  std::size_t filled = 0;
  while (filled < key.size()) {
    const ssize_t got = ::getrandom(key.data() + filled, key.size() - filled, 0);
    if (got < 0 && errno != EINTR) throw errno_error(errno, "getrandom");
    if (got > 0) filled += static_cast<std::size_t>(got);
  }
  return key;
}

}  // namespace

std::string RunTokens::mac_of(std::string_view run, std::string_view attempt) const {
  const std::string text = std::string(run).append(1, '\0').append(attempt);
  std::array<unsigned char, 32> mac{};
  unsigned length = 0;
  if (::HMAC(::EVP_sha256(), key_.data(), static_cast<int>(key_.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac.data(), &length) == nullptr ||
      length != mac.size())
    throw Error(ErrorCode::kInternal, "HMAC-SHA-256 failed");
  return base64url(mac);
}

std::string RunTokens::token_of(const TokenOwner& owner) const {
  const std::string attempt = std::to_string(owner.attempt);
  return owner.run + "." + attempt + "." + mac_of(owner.run, attempt);
}

std::optional<TokenOwner> RunTokens::owner_of(std::string_view token) const {
  const auto last = token.rfind('.');
  if (last == std::string_view::npos) return std::nullopt;
  const std::string_view head = token.substr(0, last);
  const auto before = head.rfind('.');
  if (before == std::string_view::npos) return std::nullopt;
  const std::string_view run = head.substr(0, before);
  const std::string_view attempt = head.substr(before + 1);
  const std::string_view given = token.substr(last + 1);
  const std::string mac = mac_of(run, attempt);
  if (given.size() != mac.size() || ::CRYPTO_memcmp(given.data(), mac.data(), mac.size()) != 0) return std::nullopt;
  int number = 0;
  const auto [end, error] = std::from_chars(attempt.data(), attempt.data() + attempt.size(), number);
  if (error != std::errc{} || end != attempt.data() + attempt.size()) return std::nullopt;
  return TokenOwner{.run = std::string(run), .attempt = number};
}

RunTokens open_run_tokens(const std::filesystem::path& file) {
  RunTokens::Key key{};
  if (const auto known = os::read_file_if_exists(file)) {
    if (known->size() == key.size()) {
      std::memcpy(key.data(), known->data(), key.size());
      return RunTokens(key);
    }
    spdlog::warn("{} is damaged and made anew: runs that live cannot ask over the run socket any more", file.string());
  }
  key = random_key();
  try {
    os::publish_file(file, {reinterpret_cast<const char*>(key.data()), key.size()}, os::Durability::kDurable);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNoSpace) throw;
    spdlog::warn("{}; runs that outlive this daemon will not be able to ask the next one", error.message());
  }
  return RunTokens(key);
}

}  // namespace runner::pipeline
