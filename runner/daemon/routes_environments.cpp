// Environments by name.
#include "runner/api/environment_document.hpp"
#include "runner/core/error.hpp"
#include "runner/daemon/request_values.hpp"
#include "runner/daemon/routes.hpp"
#include "runner/pipeline/environment_registry.hpp"

namespace runner::daemon {
namespace {

pipeline::EnvironmentRegistry registry_of(pipeline::Pipeline& pipeline) {
  return {pipeline.environments(), pipeline.history(), pipeline.prepared(), pipeline.curated()};
}

}  // namespace

void Routes::environment_list(const http::Request& request, Exchange& exchange) {
  exchange.respond({.status = 200,
                    .body = api::environment_list_document(
                        registry_of(pipeline_).list(request.parameter("name"), is_true(request.parameter("all"))))});
}

void Routes::environment_register(const http::Request& request, Exchange& exchange) {
  const auto registered = registry_of(pipeline_).add(api::parse_registration(request.body));
  exchange.respond({.status = registered.existed ? 200 : 201,
                    .body = api::registered_document(registered.environment, registered.existed, registered.warnings)});
}

void Routes::environment_show(const http::Request& request, Exchange& exchange) {
  exchange.respond(
      {.status = 200, .body = api::environment_document(registry_of(pipeline_).describe(request.path[2]))});
}

void Routes::environment_delete(const http::Request& request, Exchange& exchange) {
  const std::int64_t removed = registry_of(pipeline_).remove(request.path[2]);
  exchange.respond({.status = 200, .body = api::deleted_document(request.path[2], removed)});
}

void Routes::environment_diff(const http::Request& request, Exchange& exchange) {
  const auto other = request.parameter("other");
  if (!other) throw Error(ErrorCode::kInvalid, "query: 'other' is missing", "?other=NAME[:VERSION], a digest or a run");
  exchange.respond(
      {.status = 200,
       .body = api::environment_difference_document(registry_of(pipeline_).difference(request.path[2], *other))});
}

}  // namespace runner::daemon
