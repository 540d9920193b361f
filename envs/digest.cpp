#include "envs/digest.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <vector>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {

Hash digest_of(std::string_view text) {
  Hash hash;
  unsigned int length = 0;
  if (EVP_Digest(text.data(), text.size(), hash.bytes.data(), &length, EVP_sha256(), nullptr) != 1 ||
      length != hash.bytes.size())
    throw Error(ErrorCode::kInternal, "SHA-256 failed");
  return hash;
}

Hash digest_of_file(const std::filesystem::path& file) {
  const os::Fd fd = os::open_file(file, O_RDONLY);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  bool good = context && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1;
  std::vector<char> buffer(std::size_t{1} << 20);
  while (good) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw errno_error(errno, "read " + file.string());
    if (got == 0) break;
    good = EVP_DigestUpdate(context.get(), buffer.data(), static_cast<std::size_t>(got)) == 1;
  }
  Hash hash;
  unsigned int length = 0;
  if (!good || EVP_DigestFinal_ex(context.get(), hash.bytes.data(), &length) != 1 || length != hash.bytes.size())
    throw Error(ErrorCode::kInternal, "SHA-256 failed");
  return hash;
}

}  // namespace runner::envs
