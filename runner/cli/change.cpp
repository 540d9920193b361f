#include "runner/cli/change.hpp"

#include <nlohmann/json.hpp>

#include "runner/cli/document.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {

void Failures::add(const Error& error) {
  if (first_)
    report(error, json_);
  else
    first_ = error;
}

void Failures::throw_first() const {
  if (first_) throw Error(*first_);
}

int change_runs(Session& session, const std::vector<std::string>& runs, std::string_view action,
                std::string_view body) {
  const std::string rest = "/" + std::string(action);
  Json items = Json::array();
  Failures failures(session.json());
  for (const std::string& name : runs) {
    try {
      const Json run = parse_document(session.post(run_target(name, rest), body));
      if (!session.json()) print(printable(text_at(run, "runId") + " " + text_at(run, "status")) + "\n");
      items.push_back(run);
    } catch (const http::ConnectionLost&) {
      throw;
    } catch (const Error& error) {
      failures.add(error);
    }
  }
  if (session.json() && !items.empty())
    print(json_text(dump_document(runs.size() == 1 ? items[0] : Json{{"items", items}, {"nextToken", nullptr}})));
  failures.throw_first();
  return 0;
}

}  // namespace runner::cli
