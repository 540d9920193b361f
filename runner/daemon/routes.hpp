// Which request does what: the routes of docs/openapi.json over the pipeline. Any thread.
#pragma once

#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <semaphore>
#include <string>
#include <string_view>
#include <vector>

#include "runner/api/run_document.hpp"
#include "runner/daemon/http_server.hpp"
#include "runner/pipeline/pipeline.hpp"

namespace runner::daemon {

class Routes {
 public:
  // `stop(cancel_runs)` asks the process to end; it returns at once.
  Routes(pipeline::Pipeline& pipeline, api::DaemonFacts facts, std::function<void(bool cancel_runs)> stop);

  void handle(const http::Request& request, Exchange& exchange);

  // "GET /v1/runs/{run}" for every route, as in the OpenAPI file; the test compares the two.
  static std::vector<std::string> names();

 private:
  struct Route;
  static const std::vector<Route>& table();

  using Call = void (Routes::*)(const http::Request&, Exchange&);
  void openapi(const http::Request&, Exchange&);
  void daemon_facts(const http::Request&, Exchange&);
  void daemon_stop(const http::Request&, Exchange&);
  void doctor(const http::Request&, Exchange&);
  void submit(const http::Request&, Exchange&);
  void list(const http::Request&, Exchange&);
  void progress(const http::Request&, Exchange&);
  void pause(const http::Request&, Exchange&);
  void resume(const http::Request&, Exchange&);
  void exec(const http::Request&, Exchange&);
  void experiments(const http::Request&, Exchange&);
  // routes_history.cpp
  void interactive(const http::Request&, Exchange&);
  void add_file(const http::Request&, Exchange&);
  void delete_run(const http::Request&, Exchange&);
  // routes_queue.cpp
  void move(const http::Request&, Exchange&);
  void queue(const http::Request&, Exchange&);
  void queue_pause(const http::Request&, Exchange&);
  void queue_resume(const http::Request&, Exchange&);
  // routes_reuse.cpp
  void dry_run(const http::Request&, Exchange&);
  void rerun(const http::Request&, Exchange&);
  void restore(const http::Request&, Exchange&);
  void code_diff(const http::Request&, Exchange&);
  // routes_snapshot.cpp
  void snapshot_create(const http::Request&, Exchange&);
  void snapshot_show(const http::Request&, Exchange&);
  void snapshot_entries(const http::Request&, Exchange&);
  void snapshot_restore(const http::Request&, Exchange&);
  void source_files(const http::Request&, Exchange&);
  void source_explanations(const http::Request&, Exchange&);

  // routes_store.cpp
  void gc(const http::Request&, Exchange&);
  void fsck(const http::Request&, Exchange&);
  void backup(const http::Request&, Exchange&);
  // routes_sql.cpp
  void sql(const http::Request&, Exchange&);

  // routes_environments.cpp
  void environment_list(const http::Request&, Exchange&);
  void environment_register(const http::Request&, Exchange&);
  void environment_show(const http::Request&, Exchange&);
  void environment_delete(const http::Request&, Exchange&);
  void environment_diff(const http::Request&, Exchange&);

  std::string run_of(const http::Request& request) const;  // the id behind the name in the path
  void take_in_own(const std::string& run, Exchange& exchange);
  std::string document_of(const std::string& id);

  pipeline::Pipeline& pipeline_;
  const api::DaemonFacts facts_;
  const std::function<void(bool)> stop_;
  static constexpr std::ptrdiff_t kAskAtOnce = 2;  // in SQL: each may take a core and memory
  std::counting_semaphore<kAskAtOnce> asking_{kAskAtOnce};
  std::mutex backing_up_;
};

}  // namespace runner::daemon
