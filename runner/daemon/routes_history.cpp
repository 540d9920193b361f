// What only the user may ask, not a script: runs of processes of his own, files that the daemon reads for him, and that
// a run goes.
#include <nlohmann/json.hpp>

#include "runner/api/run_requests.hpp"
#include "runner/daemon/request_values.hpp"
#include "runner/daemon/routes.hpp"

namespace runner::daemon {

using nlohmann::ordered_json;

void Routes::interactive(const http::Request& request, Exchange& exchange) {
  const auto begun =
      pipeline_.begin_interactive(api::parse_interactive(request.body), exchange.peer(), notices_to(request, exchange));
  ordered_json document = ordered_json::parse(document_of(begun.run.id));
  document["journal"] = begun.journal.string();
  document["artifacts"] = begun.artifacts.string();
  exchange.respond({.status = begun.existed ? 200 : 201,
                    .body = document.dump(-1, ' ', false, ordered_json::error_handler_t::replace)});
}

void Routes::add_file(const http::Request& request, Exchange& exchange) {
  const Artifact artifact = pipeline_.add_file(run_of(request), api::parse_upload(request.body));
  const ordered_json document{{"name", artifact.name}, {"bytes", artifact.bytes}, {"sha256", artifact.sha256.hex()}};
  exchange.respond({.status = 200, .body = document.dump()});
}

void Routes::delete_run(const http::Request& request, Exchange& exchange) {
  const ordered_json document{{"deleted", pipeline_.delete_run(run_of(request))}};
  exchange.respond({.status = 200, .body = document.dump()});
}

}  // namespace runner::daemon
