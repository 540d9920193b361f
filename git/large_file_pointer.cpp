#include "git/large_file_pointer.hpp"

#include <openssl/evp.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string_view>

namespace runner::git {
namespace {

constexpr std::string_view kVersion = "version https://git-lfs.github.com/spec/v1\n";
constexpr off_t kPointerLimit = 1024;  // the specification's

struct FreeDigest {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

}  // namespace

std::optional<std::string> large_file_pointer(int fd, off_t size) {
  const std::unique_ptr<EVP_MD_CTX, FreeDigest> digest(EVP_MD_CTX_new());
  if (!digest || EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr) != 1) return std::nullopt;
  std::array<char, 65536> buffer;
  std::string beginning;
  off_t total = 0;
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    if (size < kPointerLimit) beginning.append(buffer.data(), static_cast<std::size_t>(got));
    EVP_DigestUpdate(digest.get(), buffer.data(), static_cast<std::size_t>(got));
    total += got;
  }
  if (total != size) return std::nullopt;
  if (size == 0 || (size < kPointerLimit && beginning.starts_with(kVersion))) return beginning;
  std::array<unsigned char, EVP_MAX_MD_SIZE> sum;
  EVP_DigestFinal_ex(digest.get(), sum.data(), nullptr);
  std::string pointer(kVersion);
  pointer += "oid sha256:";
  for (std::size_t i = 0; i < 32; ++i)
    for (const int digit : {sum[i] >> 4, sum[i] & 15}) pointer.push_back("0123456789abcdef"[digit]);
  return pointer + "\nsize " + std::to_string(size) + "\n";
}

}  // namespace runner::git
