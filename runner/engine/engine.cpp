#include "runner/engine/engine.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/engine/answers.hpp"
#include "runner/engine/failure.hpp"
#include "runner/engine/pull_progress.hpp"
#include "runner/engine/registry_credentials.hpp"
#include "runner/http/message.hpp"

namespace runner::engine {
namespace {

using nlohmann::json;
using Kind = http::TransferResult::Kind;

constexpr std::pair<int, int> kOldestApi{1, 40};
constexpr std::pair<int, int> kNewestApi{1, 52};

std::optional<std::pair<int, int>> parse_api(const std::string& text) {
  const auto dot = text.find('.');
  std::pair<int, int> version{};
  if (dot == std::string::npos) return std::nullopt;
  std::from_chars(text.data(), text.data() + dot, version.first);
  std::from_chars(text.data() + dot + 1, text.data() + text.size(), version.second);
  return version;
}

bool flag_at(const json& object, const char* key, bool otherwise) {
  const auto at = object.find(key);
  return at != object.end() && at->is_boolean() ? at->get<bool>() : otherwise;
}

}  // namespace

SplitReference split_reference(const std::string& reference) {
  if (const auto at = reference.find('@'); at != std::string::npos) {
    SplitReference split{.name = reference.substr(0, at), .tag = reference.substr(at + 1)};
    // "name:tag@digest": the digest decides.
    const auto colon = split.name.rfind(':');
    if (colon != std::string::npos && split.name.find('/', colon) == std::string::npos) split.name.resize(colon);
    return split;
  }
  const auto colon = reference.rfind(':');  // not the one of "host:5000/name"
  if (colon == std::string::npos || reference.find('/', colon) != std::string::npos)
    return {.name = reference, .tag = "latest"};
  return {.name = reference.substr(0, colon), .tag = reference.substr(colon + 1)};
}

http::TransferResult Engine::ask(http::TransferRequest request) {
  if (!request.limit) request.limit = kCallLimit;
  request.stop = stop_;
  request.target = facts().api + request.target;
  return transfers_.call(std::move(request));
}

const EngineFacts& Engine::facts() {
  if (facts_) return *facts_;
  const std::string attempted = "ask for its version";
  const json version =
      parsed(socket(), transfers_.call({.target = "/version", .limit = kCallLimit, .stop = stop_}), attempted);
  EngineFacts facts;
  const auto newest = parse_api(text_at(version, "ApiVersion"));
  if (!newest)
    throw Error(ErrorCode::kUnavailable, "container engine at " + socket().string() + ": says no API version",
                "is it a container engine?");
  const auto oldest = parse_api(text_at(version, "MinAPIVersion")).value_or(kOldestApi);
  if (*newest < kOldestApi || oldest > kNewestApi)
    throw Error(ErrorCode::kUnavailable,
                "container engine at " + socket().string() + ": speaks API " + text_at(version, "MinAPIVersion") +
                    " to " + text_at(version, "ApiVersion") + ", this program 1.40 to 1.52",
                *newest < kOldestApi ? "use a newer engine (Docker 19.03 or later)" : "use a newer runner");
  const auto spoken = std::min(*newest, kNewestApi);
  facts.api = "/v" + std::to_string(spoken.first) + "." + std::to_string(spoken.second);
  facts.version = text_at(version, "Version");
  facts.os = text_at(version, "Os");
  facts.architecture = text_at(version, "Arch");
  for (const json& component : version.value("Components", json::array()))
    if (text_at(component, "Name").starts_with("Podman")) facts.podman = true;
  const json info =
      parsed(socket(), transfers_.call({.target = facts.api + "/info", .limit = kCallLimit, .stop = stop_}), attempted);
  for (const std::string& option : texts_at(info, "SecurityOptions"))
    if (option.find("name=rootless") != std::string::npos) facts.rootless = true;
  facts.limits_memory = flag_at(info, "MemoryLimit", true);
  facts.limits_pids = flag_at(info, "PidsLimit", true);
  facts.limits_cpus = flag_at(info, "CpuCfsQuota", true);
  if (const auto cpus = info.find("NCPU"); cpus != info.end() && cpus->is_number()) facts.cpus = cpus->get<double>();
  facts_ = std::move(facts);
  return *facts_;
}

std::optional<Image> Engine::inspect_image(const std::string& reference) {
  // A name may hold slashes, which the Engine wants as they are.
  const auto result = ask({.target = "/images/" + http::percent_encode_path(reference) + "/json"});
  if (result.kind == Kind::kAnswered && result.status == 404) return std::nullopt;
  const std::string attempted = "inspect image " + reference;
  const json body = parsed(socket(), result, attempted);
  const json config = body.is_object() ? body.value("Config", json::object()) : json();
  Image image{.id = id_in(body, socket(), attempted),
              .tags = texts_at(body, "RepoTags"),
              .repo_digests = texts_at(body, "RepoDigests"),
              .os = text_at(body, "Os"),
              .architecture = text_at(body, "Architecture"),
              .variant = text_at(body, "Variant"),
              .environment = texts_at(config, "Env"),
              .on_build = texts_at(config, "OnBuild")};
  if (const auto size = body.find("Size"); size != body.end() && size->is_number_integer())
    image.bytes = std::max<std::int64_t>(0, size->get<std::int64_t>());
  if (!image.id.starts_with("sha256:")) image.id = "sha256:" + image.id;  // Podman leaves it out
  return image;
}

void Engine::pull(const std::string& reference, const std::function<bool(const std::string& line)>& progress,
                  const std::string& registry_auth) {
  const SplitReference split = split_reference(reference);
  PullProgress state;
  std::string shown;
  bool wanted = true;
  const auto tell = [&] {
    if (std::string line = state.line(); line != shown) shown = std::move(line);
    return wanted = wanted && progress(shown);
  };
  http::TransferRequest request{.method = "POST",
                                .target = facts().api + "/images/create?fromImage=" + http::percent_encode(split.name) +
                                          "&tag=" + http::percent_encode(split.tag),
                                .on_piece =
                                    [&](std::string_view piece) {
                                      state.feed(piece);
                                      return tell();
                                    },
                                .stop = [&] { return !tell(); }};
  if (!registry_auth.empty()) request.headers.push_back("X-Registry-Auth: " + registry_auth);
  const auto result = transfers_.call(std::move(request));
  const std::string attempted = "pull image " + reference;
  if (!answered(result)) {
    const Error error = failure(socket(), result, attempted);
    if (result.kind != Kind::kAnswered) throw Error(error);
    throw registry_failure(attempted, engine_words(result), registry_of(reference), error.code());
  }
  // The status came before the work: what failed later stands in the stream.
  if (!state.error().empty())
    throw registry_failure(attempted, state.error(), registry_of(reference), ErrorCode::kUnavailable);
}

std::vector<Engine::Container> Engine::containers_with(const std::vector<std::string>& labels) {
  const json filters{{"label", labels}};
  const json body =
      parsed(socket(), ask({.target = "/containers/json?all=1&filters=" + http::percent_encode(filters.dump())}),
             "list containers");
  std::vector<Container> containers;
  for (const json& item : body) {
    Container container{.id = text_at(item, "Id"), .labels = {}};
    if (container.id.empty()) continue;
    if (const auto labels_at = item.find("Labels"); labels_at != item.end() && labels_at->is_object())
      for (const auto& [key, value] : labels_at->items())
        if (value.is_string()) container.labels[key] = value.get<std::string>();
    containers.push_back(std::move(container));
  }
  return containers;
}

void Engine::remove_container(const std::string& id) {
  const std::string attempted = "remove container " + id.substr(0, 12);
  // One that is being removed by somebody else (409) is waited for.
  const auto result = ask({.method = "DELETE", .target = "/containers/" + id + "?force=1&v=1"});
  if (result.kind != Kind::kAnswered) throw failure(socket(), result, attempted);
  if (result.status == 404 || result.status < 300) return;
  if (result.status != 409) throw failure(socket(), result, attempted);
  const auto gone = ask({.method = "POST", .target = "/containers/" + id + "/wait?condition=removed"});
  if (!answered(gone) && gone.status != 404) throw failure(socket(), gone, attempted);
}

void Engine::remove_volumes_with(const std::vector<std::string>& labels, const std::string& key,
                                 const std::function<bool(const std::string& value)>& unwanted) {
  const json filters{{"label", labels}, {"dangling", {"true"}}};
  const json body =
      parsed(socket(), ask({.target = "/volumes?filters=" + http::percent_encode(filters.dump())}), "list volumes");
  const auto volumes = body.find("Volumes");
  if (volumes == body.end() || !volumes->is_array()) return;
  for (const json& volume : *volumes)
    if (unwanted(text_at(volume.value("Labels", json::object()), key.c_str())))
      ask({.method = "DELETE", .target = "/volumes/" + http::percent_encode(text_at(volume, "Name"))});
}

std::string Engine::create_idle_container(const std::string& image_id, const std::vector<std::string>& labels) {
  json body{{"Image", image_id},
            {"Entrypoint", {"/"}},
            {"Cmd", json::array()},
            {"NetworkDisabled", true},
            {"HostConfig", {{"NetworkMode", "none"}, {"LogConfig", {{"Type", "none"}}}}}};
  for (const std::string& label : labels) {
    const auto equals = label.find('=');
    body["Labels"][label.substr(0, equals)] = label.substr(equals + 1);
  }
  const std::string attempted = "look into image " + image_id;
  const auto result = ask({.method = "POST", .target = "/containers/create", .body = body.dump()});
  return id_in(parsed(socket(), result, attempted), socket(), attempted);
}

void Engine::run_to_end(const std::string& body, const std::string& attempted) {
  const json created =
      parsed(socket(), ask({.method = "POST", .target = "/containers/create", .body = body}), attempted);
  const std::string id = id_in(created, socket(), attempted);
  const auto started = ask({.method = "POST", .target = "/containers/" + id + "/start"});
  // "not-running" after the start: one that has ended already is no exception.
  const auto ended = answered(started)
                         ? ask({.method = "POST", .target = "/containers/" + id + "/wait?condition=not-running"})
                         : started;
  remove_container(id);
  if (!answered(ended)) throw failure(socket(), ended, attempted);
}

std::optional<std::string> Engine::read_archive(const std::string& container, const std::string& path,
                                                std::size_t most) {
  std::string tar;
  http::TransferRequest request{.target = "/containers/" + container + "/archive?path=" + http::percent_encode(path),
                                .on_piece = [&](std::string_view piece) {
                                  tar += piece.substr(0, most - tar.size());
                                  return tar.size() < most;
                                }};
  const auto result = ask(std::move(request));
  if (result.kind == Kind::kAnswered && result.status == 404) return std::nullopt;
  if (result.kind != Kind::kStopped && !answered(result))
    throw failure(socket(), result, "look at " + path + " in an image");
  return tar;
}

}  // namespace runner::engine
