// What routes ask of the history: a request's filter, the metrics of a run. Any thread.
#pragma once

#include <string>
#include <vector>

#include "runner/api/metric_document.hpp"
#include "runner/daemon/http_server.hpp"
#include "runner/pipeline/pipeline.hpp"

namespace runner::daemon {

// GET /v1/runs?experiment=&status=&kind=&tag=&property=&param=&metric=&since=&until=&text=&parent=&children=&recursive=
// &limit=&nextToken=, always with a limit: no answer is larger than a page. Error(kInvalid) naming what is wrong,
// kNotFound for an unknown parent.
store::RunFilter filter_of(const http::Request& request, const store::History& history);

// Of each metric at most as many values as a document has.
std::vector<api::MetricSeries> metrics_of(const store::History& history, const std::string& id);
std::vector<api::MetricSeries> last_metrics_of(const store::History& history, const std::string& id);

}  // namespace runner::daemon
