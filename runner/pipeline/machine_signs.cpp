#include "runner/pipeline/machine_signs.hpp"

#include <charconv>
#include <cstdlib>
#include <vector>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::pipeline {
namespace {

using std::filesystem::path;

constexpr std::size_t kLongest = 64 << 10;  // bytes of any of these files

std::vector<path> entries(const path& directory) {
  std::vector<path> found;
  std::error_code error;
  for (auto at = std::filesystem::directory_iterator(directory, error);
       !error && at != std::filesystem::directory_iterator(); at.increment(error))
    found.push_back(at->path());
  return found;
}

std::optional<std::int64_t> number(const std::optional<std::string>& text) {
  std::int64_t value = 0;
  if (!text) return std::nullopt;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  return error == std::errc{} ? std::optional(value) : std::nullopt;
}

}  // namespace

path MachineSigns::root_of_environment() {
  const char* root = std::getenv("RUNNER_MACHINE_ROOT");
  return root != nullptr && *root == '/' ? root : "/";
}

// A device that goes away while it is read is no reason to stop.
std::optional<std::string> MachineSigns::line(const path& relative) const {
  try {
    auto text = os::read_file_if_exists(root_ / relative, kLongest);
    if (text) text->resize(std::min(text->find('\n'), text->size()));
    return text;
  } catch (const Error&) {
    return std::nullopt;
  }
}

// As systemd's ConditionACPower, and upower, judge it.
bool MachineSigns::on_battery() const {
  bool discharging = false;
  for (const path& supply : entries(root_ / "sys/class/power_supply")) {
    const path relative = "sys/class/power_supply" / supply.filename();
    const auto type = line(relative / "type");
    if (!type || line(relative / "scope") == "Device") continue;
    if (*type == "Battery") {
      discharging = discharging || line(relative / "status") == "Discharging";
    } else if (number(line(relative / "online")).value_or(0) != 0) {
      return false;  // "Mains", "USB", …
    }
  }
  return discharging;
}

bool MachineSigns::hot() {
  std::int64_t throttled = 0;
  for (const path& cpu : entries(root_ / "sys/devices/system/cpu"))
    for (const char* counter : {"core_throttle_count", "package_throttle_count"})
      throttled += number(line("sys/devices/system/cpu" / cpu.filename() / "thermal_throttle" / counter)).value_or(0);
  bool is_hot = throttled_ && throttled > *throttled_;
  throttled_ = throttled;
  for (const path& zone : entries(root_ / "sys/class/thermal")) {
    const path relative = "sys/class/thermal" / zone.filename();
    const auto temperature = number(line(relative / "temp"));
    if (!temperature || line(relative / "mode") == "disabled") continue;
    constexpr int kMostTrips = 16;
    for (int trip = 0; trip < kMostTrips; ++trip) {
      const std::string point = "trip_point_" + std::to_string(trip);
      const auto type = line(relative / (point + "_type"));
      if (!type) break;
      const auto limit = number(line(relative / (point + "_temp")));  // millidegrees; 0 or less: not set
      is_hot = is_hot || ((*type == "passive" || *type == "hot" || *type == "critical") && limit && *limit > 0 &&
                          *temperature >= *limit);
    }
  }
  return is_hot;
}

bool MachineSigns::lingers(const std::string& user) const {
  std::error_code ignored;
  return std::filesystem::exists(root_ / "var/lib/systemd/linger" / user, ignored);
}

bool MachineSigns::has_systemd() const {
  std::error_code ignored;
  return std::filesystem::exists(root_ / "run/systemd/system", ignored);
}

bool MachineSigns::is_user_service() const {
  try {
    const auto text = os::read_file_if_exists(root_ / "proc/self/cgroup", kLongest);
    return text && text->find("/user@") != std::string::npos;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace runner::pipeline
