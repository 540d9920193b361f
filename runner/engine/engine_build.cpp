// Images that are made, named and removed here.
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "runner/core/error.hpp"
#include "runner/engine/answers.hpp"
#include "runner/engine/engine.hpp"
#include "runner/engine/failure.hpp"
#include "runner/engine/registry_credentials.hpp"
#include "runner/http/message.hpp"

namespace runner::engine {
namespace {

using nlohmann::json;

// The classic builder: it wants no session, and every engine has it.
std::string build_target(const ImageBuild& build) {
  std::string target = "/build?version=1&rm=1&forcerm=1";
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) target += std::string("&") + name + "=" + http::percent_encode(value);
  };
  add("dockerfile", build.dockerfile);
  add("t", build.tag);
  add("networkmode", build.network);
  if (!build.arguments.empty()) add("buildargs", json(build.arguments).dump());
  if (!build.labels.empty()) add("labels", json(build.labels).dump());
  if (build.fresh) target += "&nocache=1";
  return target;
}

// Of "FROM host/name:1 AS stage"; empty for anything else.
std::string registry_of_step(const std::string& text) {
  if (!text.starts_with("FROM ") || text.find('$') != std::string::npos) return "";
  std::istringstream words(text.substr(5));
  std::string word;
  while (words >> word && word.starts_with("--")) {
  }
  return word.empty() ? "" : registry_of(word);
}

Error failed_build(const BuildAnswer& answer, const std::string& attempted) {
  const auto& step = answer.step();
  const std::string place = step ? attempted + ": step " + std::to_string(step->number) + " of " +
                                       std::to_string(step->total) + ", " + step->text
                                 : attempted;
  if (answer.exit_status())
    return Error(ErrorCode::kInvalid, place + ": it ended with status " + std::to_string(*answer.exit_status()));
  return registry_failure(place, answer.error(), step ? registry_of_step(step->text) : "", ErrorCode::kInvalid);
}

}  // namespace

std::string Engine::build_image(const ImageBuild& build, const BuildListener& listener) {
  const std::string attempted = "build the image";
  BuildAnswer answer(listener);
  http::TransferRequest request{.method = "POST",
                                .target = facts().api + build_target(build),
                                .body_from = build.context,
                                .headers = {"Content-Type: application/x-tar"},
                                .on_piece =
                                    [&](std::string_view piece) {
                                      answer.feed(piece);
                                      return true;
                                    },
                                .stop = stop_};
  if (!build.registry_config.empty()) request.headers.push_back("X-Registry-Config: " + build.registry_config);
  const auto result = transfers_.call(std::move(request));
  if (!answered(result)) throw BuildError(failure(socket(), result, attempted), answer.step());
  answer.end();
  if (!answer.error().empty()) throw BuildError(failed_build(answer, attempted), answer.step());
  if (answer.image().starts_with("sha256:") && answer.image().size() == 71) return answer.image();
  const auto image = answer.image().empty() ? std::nullopt : inspect_image(answer.image());
  if (!image)
    throw Error(ErrorCode::kUnavailable,
                attempted + ": the container engine at " + socket().string() + " ended its answer without an image");
  return image->id;
}

void Engine::tag(const std::string& image, const std::string& reference) {
  const SplitReference split = split_reference(reference);
  const auto result =
      ask({.method = "POST",
           .target = "/images/" + http::percent_encode_path(image) + "/tag?repo=" + http::percent_encode(split.name) +
                     "&tag=" + http::percent_encode(split.tag)});
  if (!answered(result)) throw failure(socket(), result, "tag image " + image + " as " + reference);
}

bool Engine::remove_image(const std::string& reference) {
  const auto result = ask({.method = "DELETE", .target = "/images/" + http::percent_encode_path(reference)});
  if (result.kind == http::TransferResult::Kind::kAnswered) {
    if (result.status == 409) return false;
    if (result.status == 404) return true;
  }
  if (!answered(result)) throw failure(socket(), result, "remove image " + reference);
  return true;
}

}  // namespace runner::engine
