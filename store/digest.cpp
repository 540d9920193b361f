#include "store/digest.hpp"

#include <openssl/evp.h>

#include "runner/core/error.hpp"

namespace runner::store {
namespace {

[[noreturn]] void fail() { throw Error(ErrorCode::kInternal, "SHA-256: OpenSSL failed"); }

}  // namespace

Sha256::Sha256() : algorithm_(EVP_MD_fetch(nullptr, "SHA256", nullptr), EVP_MD_free) {
  if (!algorithm_) fail();
}

Hash Sha256::of(std::span<const std::byte> bytes) const {
  Stream stream(*this);
  stream.update(bytes);
  return stream.finish();
}

Sha256::Stream::Stream(const Sha256& algorithm) : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
  if (!context_ || EVP_DigestInit_ex2(context_.get(), algorithm.algorithm_.get(), nullptr) != 1) fail();
}

void Sha256::Stream::update(std::span<const std::byte> bytes) {
  if (EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1) fail();
}

Hash Sha256::Stream::finish() {
  Hash hash;
  unsigned size = 0;
  if (EVP_DigestFinal_ex(context_.get(), hash.bytes.data(), &size) != 1 || size != hash.bytes.size()) fail();
  return hash;
}

}  // namespace runner::store
