#include "runner/shim/records.hpp"

#include <nlohmann/json.hpp>

#include "runner/core/error.hpp"
#include "runner/core/whole_number.hpp"
#include "runner/os/file.hpp"

namespace runner::shim {
namespace {

using nlohmann::json;
using std::filesystem::path;

constexpr int kVersion = 1;
constexpr std::size_t kRecordLimit = 1 << 20;  // bytes; a longer file is damaged

json to_json(const os::ProcessIdentity& process) {
  return {{"pid", process.pid}, {"startTicks", process.start_ticks}, {"bootId", process.boot_id}};
}

os::ProcessIdentity process_from(const json& object) {
  return {.pid = whole_number<pid_t>(object.at("pid")),
          .start_ticks = whole_number<std::uint64_t>(object.at("startTicks")),
          .boot_id = object.at("bootId").get<std::string>()};
}

std::int64_t to_micros(UtcTime time) { return time.time_since_epoch().count(); }
UtcTime from_micros(std::int64_t micros) { return UtcTime{std::chrono::microseconds{micros}}; }

template <class T>
void put(json& object, const char* key, const std::optional<T>& value) {
  if (value) object[key] = *value;
}

template <class T>
std::optional<T> get(const json& object, const char* key) {
  const auto at = object.find(key);
  if (at == object.end() || at->is_null()) return std::nullopt;
  return at->get<T>();
}

// The record in `file`, made by `make(json)`; nothing if there is no file.
template <class Make>
auto read_record(const path& file, Make&& make) -> std::optional<decltype(make(json{}))> {
  const auto text = os::read_file_if_exists(file, kRecordLimit);
  if (!text) return std::nullopt;
  try {
    const json object = json::parse(*text);
    if (whole_number<int>(object.at("version")) != kVersion)
      throw Error(ErrorCode::kInternal, "read " + file.string() + ": written by another version");
    return make(object);
  } catch (const json::exception& error) {
    throw Error(ErrorCode::kInternal, "read " + file.string() + ": damaged: " + error.what());
  }
}

std::string text_of(json object) {
  object["version"] = kVersion;
  return object.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

json to_json(const Outcome& outcome) {
  json object{{"kind", std::string(to_string(outcome.kind))}, {"message", outcome.message}};
  put(object, "exitCode", outcome.exit_code);
  put(object, "signal", outcome.signal);
  put(object, "peakMemoryBytes", outcome.usage.peak_memory_bytes);
  put(object, "meanMemoryBytes", outcome.usage.mean_memory_bytes);
  put(object, "cpuSeconds", outcome.usage.cpu_seconds);
  put(object, "peakCpus", outcome.usage.peak_cpus);
  put(object, "meanCpus", outcome.usage.mean_cpus);
  put(object, "readBytes", outcome.usage.read_bytes);
  put(object, "writtenBytes", outcome.usage.written_bytes);
  return object;
}

Outcome outcome_from(const json& object) {
  Outcome outcome;
  outcome.kind = outcome_kind_from(object.at("kind").get<std::string>()).value_or(OutcomeKind::kLost);
  outcome.message = object.value("message", "");
  outcome.exit_code = get<int>(object, "exitCode");
  outcome.signal = get<int>(object, "signal");
  outcome.usage.peak_memory_bytes = get<std::int64_t>(object, "peakMemoryBytes");
  outcome.usage.mean_memory_bytes = get<std::int64_t>(object, "meanMemoryBytes");
  outcome.usage.cpu_seconds = get<double>(object, "cpuSeconds");
  outcome.usage.peak_cpus = get<double>(object, "peakCpus");
  outcome.usage.mean_cpus = get<double>(object, "meanCpus");
  outcome.usage.read_bytes = get<std::int64_t>(object, "readBytes");
  outcome.usage.written_bytes = get<std::int64_t>(object, "writtenBytes");
  return outcome;
}

// Throws for a damaged one.
std::optional<Started> started_in(const path& file) {
  return read_record(file, [](const json& object) {
    Started started{.time = from_micros(whole_number<std::int64_t>(object.at("timeMicros"))),
                    .init = process_from(object.at("init")),
                    .paused = object.value("paused", false),
                    .pause_requests = whole_number_or<std::uint64_t>(object, "pauseRequests", 0),
                    .pause_error = object.value("pauseError", ""),
                    .interpreter = object.value("interpreter", "")};
    if (const auto deadline = get<std::int64_t>(object, "deadlineMonotonicNanos"))
      started.deadline = std::chrono::nanoseconds{*deadline};
    return started;
  });
}

}  // namespace

std::optional<Claim> read_claim(const os::RunDirectory& run) {
  return read_record(run.claim(), [](const json& object) {
    return Claim{.shim = process_from(object.at("shim")),
                 .attempt = whole_number_or<int>(object, "attempt", 1),
                 .outputs = object.value("outputs", "")};
  });
}

bool is_claimed(const os::RunDirectory& run) {
  std::error_code unknown;
  return std::filesystem::symlink_status(run.claim(), unknown).type() != std::filesystem::file_type::not_found;
}

bool write_claim_once(const os::RunDirectory& run, const Claim& claim) {
  json object{{"shim", to_json(claim.shim)}, {"attempt", claim.attempt}};
  if (!claim.outputs.empty()) object["outputs"] = claim.outputs;
  return os::publish_file_once(run.claim(), text_of(std::move(object)));
}

std::optional<Started> read_started(const os::RunDirectory& run) {
  try {
    return started_in(run.started());
  } catch (const Error&) {  // said by fsck
    return std::nullopt;
  }
}

void check_started(const os::RunDirectory& run) { started_in(run.started()); }

void write_started(const os::RunDirectory& run, const Started& started) {
  json object{{"timeMicros", to_micros(started.time)},
              {"init", to_json(started.init)},
              {"paused", started.paused},
              {"pauseRequests", started.pause_requests},
              {"pauseError", started.pause_error},
              {"interpreter", started.interpreter}};
  if (started.deadline) object["deadlineMonotonicNanos"] = started.deadline->count();
  os::publish_file(run.started(), text_of(object), os::Durability::kAtomic);
}

std::optional<Ended> read_ended(const os::RunDirectory& run) {
  return read_record(run.ended(), [](const json& object) {
    return Ended{.time = from_micros(whole_number<std::int64_t>(object.at("timeMicros"))),
                 .outcome = outcome_from(object.at("outcome")),
                 .gave_way = object.value("gaveWay", false),
                 .log_bytes_over_limit = whole_number_or<std::int64_t>(object, "logBytesOverLimit", 0)};
  });
}

std::string to_document(const Ended& ended) {
  json object{{"timeMicros", to_micros(ended.time)}, {"outcome", to_json(ended.outcome)}, {"gaveWay", ended.gave_way}};
  if (ended.log_bytes_over_limit > 0) object["logBytesOverLimit"] = ended.log_bytes_over_limit;
  return text_of(std::move(object));
}

std::optional<PauseRequest> read_pause(const os::RunDirectory& run) {
  return read_record(run.pause(), [](const json& object) {
    return PauseRequest{.paused = object.at("paused").get<bool>(),
                        .number = whole_number<std::uint64_t>(object.at("number")),
                        .reason = object.value("reason", "")};
  });
}

void write_pause(const os::RunDirectory& run, const PauseRequest& request) {
  json object{{"paused", request.paused}, {"number", request.number}};
  if (!request.reason.empty()) object["reason"] = request.reason;
  os::publish_file(run.pause(), text_of(std::move(object)), os::Durability::kAtomic);
}

std::optional<CancelRequest> read_cancel(const os::RunDirectory& run) {
  return read_record(run.cancel(), [](const json& object) {
    return CancelRequest{.reason = object.value("reason", ""),
                         .as_failure = object.value("asFailure", false),
                         .give_way = object.value("giveWay", false)};
  });
}

void write_cancel(const os::RunDirectory& run, const CancelRequest& request) {
  const json object{{"reason", request.reason}, {"asFailure", request.as_failure}, {"giveWay", request.give_way}};
  os::publish_file(run.cancel(), text_of(object), os::Durability::kAtomic);
}

}  // namespace runner::shim
