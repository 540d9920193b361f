// How a chunk's bytes lie in the database: as they are, or as one zstd frame where that saves at least a sixteenth.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

struct ZSTD_CCtx_s;

namespace runner::store {

enum class Codec { kPlain = 0, kZstd = 1 };  // column chunk.codec

// One thread at a time. Holds about 1 MiB while it lives.
class Compressor {
 public:
  Compressor();
  // Appends the frame to `out`; nothing, and `out` unchanged, where compression does not pay.
  std::optional<std::size_t> compress(std::span<const std::byte> bytes, std::vector<std::byte>& out);

 private:
  std::unique_ptr<ZSTD_CCtx_s, std::size_t (*)(ZSTD_CCtx_s*)> context_;
};

// Fills `out` exactly; false if the stored bytes are damaged.
bool decode(Codec codec, std::span<const std::byte> stored, std::span<std::byte> out);

}  // namespace runner::store
