// SHA-256 with the processor's instructions (OpenSSL). Any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "runner/core/content.hpp"

struct evp_md_st;
struct evp_md_ctx_st;

namespace runner::store {

class Sha256 {
 public:
  Sha256();
  Hash of(std::span<const std::byte> bytes) const;

  // A hash of pieces.
  class Stream {
   public:
    explicit Stream(const Sha256& algorithm);
    void update(std::span<const std::byte> bytes);
    Hash finish();  // once

   private:
    std::unique_ptr<evp_md_ctx_st, void (*)(evp_md_ctx_st*)> context_;
  };

 private:
  // Fetched once: a fetch per hash costs a third of a small file's time.
  std::unique_ptr<evp_md_st, void (*)(evp_md_st*)> algorithm_;
};

}  // namespace runner::store
