#include "runner/pipeline/gpu_slots.hpp"

#include <algorithm>
#include <set>

namespace runner::pipeline {
namespace {

constexpr std::size_t kMostSlots = 64;

constexpr GpuSet bit(std::size_t slot) { return GpuSet{1} << slot; }

}  // namespace

std::string to_text(const GpuWish& wish) {
  if (wish.ids.empty()) return std::to_string(wish.count) + (wish.count == 1 ? " GPU" : " GPUs");
  std::string text;
  for (const std::string& id : wish.ids) text += (text.empty() ? "GPU " : " and GPU ") + id;
  return text;
}

GpuSlots::GpuSlots(const std::vector<std::string>& ids, int runs_each) {
  for (int run = 0; run < runs_each; ++run)
    for (const std::string& id : ids)
      if (slots_.size() < kMostSlots) slots_.push_back(id);
}

GpuSet GpuSlots::all() const { return slots_.size() == kMostSlots ? ~GpuSet{0} : bit(slots_.size()) - 1; }

int GpuSlots::count(GpuSet slots) const {
  std::set<std::string_view> ids;
  for (std::size_t slot = 0; slot < slots_.size(); ++slot)
    if ((slots & bit(slot)) != 0) ids.insert(slots_[slot]);
  return static_cast<int>(ids.size());
}

std::optional<GpuSet> GpuSlots::choose(const GpuWish& wish, GpuSet free, GpuSet dear) const {
  if (wish.empty()) return GpuSet{0};
  std::set<std::string_view> chosen;
  GpuSet slots = 0;
  const auto full = [&] { return wish.ids.empty() && chosen.size() >= static_cast<std::size_t>(wish.count); };
  for (const GpuSet among : {free & ~dear, free & dear})
    for (std::size_t slot = 0; slot < slots_.size() && !full(); ++slot) {
      if ((among & bit(slot)) == 0) continue;
      const bool meant =
          wish.ids.empty() || std::find(wish.ids.begin(), wish.ids.end(), slots_[slot]) != wish.ids.end();
      if (meant && chosen.insert(slots_[slot]).second) slots |= bit(slot);
    }
  const std::size_t wanted = wish.ids.empty() ? static_cast<std::size_t>(wish.count) : wish.ids.size();
  if (chosen.size() < wanted) return std::nullopt;
  return slots;
}

std::vector<std::string> GpuSlots::ids(GpuSet slots) const {
  std::vector<std::string> ids;
  for (std::size_t slot = 0; slot < slots_.size(); ++slot)
    if ((slots & bit(slot)) != 0) ids.push_back(slots_[slot]);
  return ids;
}

GpuSet GpuSlots::slots_of(const std::vector<std::string>& ids, GpuSet free) const {
  GpuSet slots = 0;
  for (const std::string& id : ids) {
    if (const auto chosen = choose({.ids = {id}}, free & ~slots, 0))
      slots |= *chosen;
    else if (const auto taken = choose({.ids = {id}}, ~slots, 0))
      slots |= *taken;
  }
  return slots;
}

}  // namespace runner::pipeline
