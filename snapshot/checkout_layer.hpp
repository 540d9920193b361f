// Making one layer of files on the disk, full or thin, and judging which layer it had better lie on. Any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "runner/core/content.hpp"
#include "snapshot/checkout_record.hpp"

namespace runner::snapshot {

// A checkout that a thin layer may lie on.
struct LayerBase {
  Hash snapshot;
  std::int64_t weight = 0;    // CheckoutRecord::weight
  std::vector<Hash> below{};  // the layers under it
};

// What a thin layer over `base` would write, as a weight; nothing if it is more than `limit`, or if the base's trees
// are not in the store any more.
std::optional<std::int64_t> thin_weight(const ContentReader& store, const LayerBase& base, const Hash& snapshot,
                                        std::int64_t limit);

// The candidate over which a layer for `snapshot` costs least, given in order of preference; nothing if a full checkout
// is better. One with fewer layers is preferred where it costs little more, so that stacks stay low.
std::optional<LayerBase> choose_base(const ContentReader& store, const std::vector<LayerBase>& candidates,
                                     const Hash& snapshot);

// Both fill an empty directory and describe it (boot and synced are not set). Errors name the file by `shown` and its
// path. A thin layer may fail where a full one does not: no whiteouts on this file system, trees of the base gone.
CheckoutRecord make_full_layer(const ContentReader& store, const Hash& snapshot, const std::filesystem::path& directory,
                               const std::string& shown);
CheckoutRecord make_thin_layer(const ContentReader& store, const LayerBase& base, const Hash& snapshot,
                               const std::filesystem::path& directory, const std::string& shown);

}  // namespace runner::snapshot
