// The GPUs that runs share, as slots: one each, or several where the configuration lets runs share a GPU. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace runner::pipeline {

using GpuSet = std::uint64_t;  // of slots, one bit each

// What a run asks for: so many of them, or exactly these.
struct GpuWish {
  int count = 0;
  std::vector<std::string> ids{};
  bool operator==(const GpuWish&) const = default;
  bool empty() const { return count == 0 && ids.empty(); }
};
std::string to_text(const GpuWish& wish);  // "2 GPUs", "GPU 0 and GPU 3"

class GpuSlots {
 public:
  GpuSlots() = default;
  // `ids` as the driver or the user names them; `runs_each`: how many runs may have one at the same time. No more than
  // 64 slots: what is beyond is left out.
  explicit GpuSlots(const std::vector<std::string>& ids, int runs_each = 1);

  GpuSet all() const;
  int count(GpuSet slots) const;  // of different GPUs among them
  // Slots of different GPUs among `free` that grant the wish; nothing if there are too few. Those in `dear` only if it
  // must be.
  std::optional<GpuSet> choose(const GpuWish& wish, GpuSet free, GpuSet dear = 0) const;
  std::vector<std::string> ids(GpuSet slots) const;
  // For a run that has them already: free ones where possible. A GPU that is not here any more is left out.
  GpuSet slots_of(const std::vector<std::string>& ids, GpuSet free) const;

 private:
  std::vector<std::string> slots_;  // the id of each
};

}  // namespace runner::pipeline
