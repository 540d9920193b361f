// How a chunk's bytes lie in the database: as they are, or as one zstd frame where that saves at least a sixteenth.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>

struct ZSTD_CCtx_s;

namespace runner::store {

enum class Codec { kPlain = 0, kZstd = 1 };  // column chunk.codec

// One thread at a time. Holds up to 4 MiB while it lives.
class Compressor {
 public:
  Compressor();
  // The frame, valid until the next call; nothing where compression does not pay.
  std::optional<std::span<const std::byte>> compress(std::span<const std::byte> bytes);

 private:
  std::unique_ptr<ZSTD_CCtx_s, std::size_t (*)(ZSTD_CCtx_s*)> context_;
  std::unique_ptr<std::byte[]> frame_;
  std::size_t capacity_ = 0;
};

// Fills `out` exactly; false if the stored bytes are damaged.
bool decode(Codec codec, std::span<const std::byte> stored, std::span<std::byte> out);

}  // namespace runner::store
