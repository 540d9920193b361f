// TensorBoard's event files: records of TFRecord (length, masked CRC-32C, data, masked CRC-32C) that hold protocol
// buffers `tensorflow.Event` with one scalar each. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runner/core/time.hpp"

namespace runner::cli {

std::uint32_t crc32c(std::string_view bytes);

// The bytes of a file, in order: version_record() first, then any number of scalars.
std::string version_record(UtcTime time);
struct Scalar {
  std::string tag;   // UTF-8
  double value = 0;  // kept with 24 bits
  std::int64_t step = 0;
  UtcTime time{};
};
std::string scalar_record(const Scalar& scalar);

}  // namespace runner::cli
