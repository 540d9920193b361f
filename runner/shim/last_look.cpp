#include "runner/shim/last_look.hpp"

#include <nlohmann/json.hpp>

#include "runner/core/error.hpp"
#include "runner/core/whole_number.hpp"
#include "runner/os/file.hpp"

namespace runner::shim {
namespace {

using nlohmann::json;
constexpr int kVersion = 1;
constexpr std::size_t kLimit = 4 << 20;  // bytes; ours are smaller by far

}  // namespace

std::optional<LastLook> read_last_look(const os::RunDirectory& run) {
  try {
    const auto text = os::read_file_if_exists(run.last_look(), kLimit);
    if (!text) return std::nullopt;
    const json object = json::parse(*text);
    if (whole_number<int>(object.at("version")) != kVersion) return std::nullopt;
    LastLook look{.time = UtcTime{std::chrono::microseconds{whole_number<std::int64_t>(object.at("timeMicros"))}},
                  .before_signal = object.at("beforeSignal").get<bool>(),
                  .process_count = whole_number<std::int64_t>(object.at("processCount")),
                  .complete = object.at("complete").get<bool>(),
                  .processes = {},
                  .samples = parse_usage(object.at("samples").get<std::string>())};
    for (const json& process : object.at("processes"))
      look.processes.push_back({.pid = whole_number<pid_t>(process.at("pid")),
                                .parent = whole_number<pid_t>(process.at("parent")),
                                .state = process.at("state").get<std::string>().append("?").front(),
                                .memory_bytes = whole_number<std::int64_t>(process.at("memoryBytes")),
                                .cpu_seconds = process.at("cpuSeconds").get<double>(),
                                .command = process.at("command").get<std::string>()});
    return look;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

void write_last_look(const os::RunDirectory& run, const LastLook& look) {
  json processes = json::array();
  for (const SeenProcess& process : look.processes)
    processes.push_back({{"pid", process.pid},
                         {"parent", process.parent},
                         {"state", std::string(1, process.state)},
                         {"memoryBytes", process.memory_bytes},
                         {"cpuSeconds", process.cpu_seconds},
                         {"command", process.command}});
  std::string samples;
  for (const UsageSample& sample : look.samples) samples += to_line(sample);
  const json object{{"version", kVersion},
                    {"timeMicros", look.time.time_since_epoch().count()},
                    {"beforeSignal", look.before_signal},
                    {"processCount", look.process_count},
                    {"complete", look.complete},
                    {"processes", std::move(processes)},
                    {"samples", std::move(samples)}};
  os::publish_file(run.last_look(), object.dump(-1, ' ', false, json::error_handler_t::replace),
                   os::Durability::kAtomic);
}

}  // namespace runner::shim
