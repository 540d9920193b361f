#include "runner/shim/last_look.hpp"

#include <nlohmann/json.hpp>

#include "runner/core/error.hpp"
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
    if (object.at("version").get<int>() != kVersion) return std::nullopt;
    LastLook look{.time = UtcTime{std::chrono::microseconds{object.at("timeMicros").get<std::int64_t>()}},
                  .before_signal = object.at("beforeSignal").get<bool>(),
                  .process_count = object.at("processCount").get<std::int64_t>(),
                  .complete = object.at("complete").get<bool>(),
                  .processes = {},
                  .samples = parse_usage(object.at("samples").get<std::string>())};
    for (const json& process : object.at("processes"))
      look.processes.push_back({.pid = process.at("pid").get<pid_t>(),
                                .parent = process.at("parent").get<pid_t>(),
                                .state = process.at("state").get<std::string>().append("?").front(),
                                .memory_bytes = process.at("memoryBytes").get<std::int64_t>(),
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
