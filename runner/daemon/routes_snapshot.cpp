// Snapshots without a run.
#include <nlohmann/json.hpp>

#include "runner/api/snapshot_document.hpp"
#include "runner/daemon/request_values.hpp"
#include "runner/daemon/routes.hpp"

namespace runner::daemon {

void Routes::snapshot_create(const http::Request& request, Exchange& exchange) {
  const auto snapshot = pipeline_.create_snapshot(absolute_path(body_of(request), "sourceDirectory"));
  exchange.respond(
      {.status = 201,
       .body = api::snapshot_document(
           {.id = snapshot.id, .files = snapshot.files, .bytes = snapshot.bytes, .warnings = snapshot.warnings})});
}

}  // namespace runner::daemon
