#include "envs/digest.hpp"

#include <openssl/evp.h>

#include "runner/core/error.hpp"

namespace runner::envs {

Hash digest_of(std::string_view text) {
  Hash hash;
  unsigned int length = 0;
  if (EVP_Digest(text.data(), text.size(), hash.bytes.data(), &length, EVP_sha256(), nullptr) != 1 ||
      length != hash.bytes.size())
    throw Error(ErrorCode::kInternal, "SHA-256 failed");
  return hash;
}

}  // namespace runner::envs
