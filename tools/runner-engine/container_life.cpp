#include "tools/runner-engine/container_life.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/engine/failure.hpp"
#include "runner/os/file.hpp"

namespace runner {
namespace {

using nlohmann::json;
using shim::EngineEvent;
using shim::EngineRecord;
using Kind = http::TransferResult::Kind;
using std::chrono::milliseconds;

// A cold disk, large images: minutes are possible, for ever is not. The user may cancel at any time.
constexpr std::chrono::minutes kStartLimit{3};
constexpr std::chrono::seconds kCallLimit{10};
constexpr milliseconds kFirstPause{50};  // between two looks for an Engine that went away
constexpr milliseconds kLongestPause{2000};

void put_words(EngineRecord& record, const std::string& words) {
  const std::size_t size = std::min(words.size(), record.words.size() - 1);
  std::copy_n(words.begin(), size, record.words.begin());
}

}  // namespace

ContainerOrder read_order(const std::filesystem::path& file) {
  try {
    const json object = json::parse(os::read_file(file));
    if (object.at("version").get<int>() != 1) throw Error(ErrorCode::kInternal, "written by another version");
    return {.socket = object.at("socket").get<std::string>(),
            .api = object.at("api").get<std::string>(),
            .name = object.at("name").get<std::string>(),
            .create = object.at("create").dump()};
  } catch (const json::exception& error) {
    throw Error(ErrorCode::kInternal, "read " + file.string() + ": " + error.what());
  }
}

ContainerLife::ContainerLife(ContainerOrder order, os::Fd shim, std::string id)
    : order_(std::move(order)), shim_(std::move(shim)), transfers_(order_.socket), id_(std::move(id)) {}

void ContainerLife::run() {
  try {
    if (id_.empty()) {
      id_ = create();
      EngineRecord created{.event = EngineEvent::kCreated};
      put_words(created, id_);
      tell_shim(created);
      start(id_);
    }
    follow(id_);
  } catch (const ShimGone&) {
    // It knows the end already, or it died: then runner-init ends the container and the daemon removes it.
  }
}

std::string ContainerLife::create() {
  const std::string attempted = "create the container";
  const auto post = [&](const std::string& query) {
    return ask({.method = "POST",
                .target = order_.api + "/containers/create" + query,
                .body = order_.create,
                .limit = kStartLimit});
  };
  auto result = post("?name=" + order_.name);
  // Somebody else's container has our name. The name is for people; the labels are what we go by.
  if (result.kind == Kind::kAnswered && result.status == 409) result = post("");
  if (result.kind != Kind::kAnswered || result.status >= 300) throw engine::failure(order_.socket, result, attempted);
  const json body = json::parse(result.body, nullptr, false);
  if (!body.is_object() || !body.contains("Id"))
    throw Error(ErrorCode::kUnavailable, attempted + ": the Engine's answer names no container");
  return body["Id"].get<std::string>();
}

void ContainerLife::start(const std::string& id) {
  const auto result =
      ask({.method = "POST", .target = order_.api + "/containers/" + id + "/start", .limit = kStartLimit});
  if (result.kind != Kind::kAnswered || result.status >= 300)
    throw engine::failure(order_.socket, result, "start the container");
}

// The container is started once and never removed by the Engine itself, so "not-running" misses no end.
void ContainerLife::follow(const std::string& id) {
  milliseconds pause = kFirstPause;
  for (;;) {
    const auto ended =
        ask({.method = "POST", .target = order_.api + "/containers/" + id + "/wait?condition=not-running"});
    if (ended.kind == Kind::kAnswered && inspect(id) == State::kEnded) return;
    // The connection broke, the Engine is away or restarting: what the container does meanwhile is its own affair.
    pollfd from_shim{shim_.get(), POLLIN, 0};
    if (::poll(&from_shim, 1, static_cast<int>(pause.count())) > 0) hear_shim();
    pause = std::min(pause * 2, kLongestPause);
  }
}

ContainerLife::State ContainerLife::inspect(const std::string& id) {
  const auto result = ask({.target = order_.api + "/containers/" + id + "/json", .limit = kCallLimit});
  if (result.kind != Kind::kAnswered) return State::kRunning;
  EngineRecord record;
  if (result.status == 404) {
    record.removed = true;
    tell_shim(record);
    return State::kEnded;
  }
  const json body = json::parse(result.body, nullptr, false);
  if (!body.is_object() || !body.contains("State")) return State::kRunning;
  const json& state = body["State"];
  if (state.value("Running", false) || state.value("Restarting", false)) return State::kRunning;
  record.removed = state.value("Status", std::string()) == "removing";  // by somebody else: we only ask for the state
  record.exit_code = state.value("ExitCode", 0);
  record.out_of_memory = state.value("OOMKilled", false);
  put_words(record, state.value("Error", std::string()));
  tell_shim(record);
  return State::kEnded;
}

void ContainerLife::pause(char word) {
  const bool pausing = word == shim::kPause;
  if (id_.empty()) {
    EngineRecord record{.event = EngineEvent::kPauseFailed};
    put_words(record, "the container does not exist yet");
    return tell_shim(record);
  }
  // Without a limit: an answer that comes late is still the truth about the container.
  transfers_.begin({.method = "POST", .target = order_.api + "/containers/" + id_ + (pausing ? "/pause" : "/unpause")},
                   [this, pausing](const http::TransferResult& result) { answer_pause(pausing, result); });
}

void ContainerLife::answer_pause(bool wanted, const http::TransferResult& result) {
  const EngineEvent done = wanted ? EngineEvent::kPaused : EngineEvent::kUnpaused;
  if (result.kind == Kind::kAnswered && result.status < 300) return tell_shim({.event = done});
  // "Already paused" and "not paused" are no failures: somebody else was quicker. What it is now decides.
  const std::string words = engine::failure(order_.socket, result, wanted ? "pause" : "unpause").message();
  transfers_.begin({.target = order_.api + "/containers/" + id_ + "/json", .limit = kCallLimit},
                   [this, wanted, done, words](const http::TransferResult& now) {
                     const json body = json::parse(now.body, nullptr, false);
                     const bool known = now.kind == Kind::kAnswered && body.is_object() && body.contains("State");
                     if (known && body["State"].value("Paused", !wanted) == wanted) return tell_shim({.event = done});
                     EngineRecord record{.event = EngineEvent::kPauseFailed};
                     put_words(record, words);
                     tell_shim(record);
                   });
}

void ContainerLife::hear_shim() {
  char word = 0;
  const ssize_t got = ::recv(shim_.get(), &word, 1, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) throw ShimGone{};
  if (word == shim::kPause || word == shim::kUnpause) pause(word);
}

void ContainerLife::tell_shim(const EngineRecord& record) {
  if (::send(shim_.get(), &record, sizeof record, MSG_NOSIGNAL) < 0 && errno != EAGAIN) throw ShimGone{};
}

http::TransferResult ContainerLife::ask(http::TransferRequest request) {
  std::optional<http::TransferResult> result;
  transfers_.begin(std::move(request), [&result](http::TransferResult ended) { result = std::move(ended); });
  while (!result) {
    pollfd from_shim{shim_.get(), POLLIN, 0};
    transfers_.wait({&from_shim, 1}, std::nullopt);
    if (from_shim.revents != 0) hear_shim();
  }
  return std::move(*result);
}

}  // namespace runner
