// run delete: runs and all below them go from the history, and what no other run needs from the disk.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "runner/cli/change.hpp"
#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/line_answer.hpp"
#include "runner/cli/list.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {
namespace {

struct Family {
  std::string id;
  std::vector<std::string> below;
};

std::string runs_text(std::size_t count) { return std::to_string(count) + (count == 1 ? " run" : " runs"); }

// Does `work` for one run; the others go on after an error, not after the connection's end: what became of that run
// nobody knows then.
template <class Work>
void attempt(Failures& failures, const Work& work) {
  try {
    work();
  } catch (const http::ConnectionLost&) {
    throw;
  } catch (const Error& error) {
    failures.add(error);
  }
}

// All of them before the first goes: by then @last is another run.
std::vector<Family> families_of(Session& session, const std::vector<std::string>& names, Failures& failures) {
  std::vector<Family> families;
  for (const std::string& name : names)
    attempt(failures, [&] {
      Family family{.id = id_of_run(session, name), .below = {}};
      const Json list = runs_below(session, family.id);
      for (const Json& run : member(list, "items")) family.below.push_back(text_at(run, "runId"));
      families.push_back(std::move(family));
    });
  return families;
}

// Runs that go though nobody named them.
std::size_t unnamed(const std::vector<Family>& families) {
  std::set<std::string> named, below;
  for (const Family& family : families) {
    named.insert(family.id);
    below.insert(family.below.begin(), family.below.end());
  }
  return static_cast<std::size_t>(
      std::count_if(below.begin(), below.end(), [&](const std::string& id) { return !named.contains(id); }));
}

// Error(kInvalid) where there is nobody to ask.
bool is_wanted(const std::vector<Family>& families) {
  const std::size_t more = unnamed(families);
  if (more == 0) return true;
  const bool one = families.size() == 1;
  const std::string named = one ? "run " + families.front().id : runs_text(families.size());
  if (!can_ask())
    throw Error(ErrorCode::kInvalid,
                "run delete: " + runs_text(more) + " below " + named + (more == 1 ? " goes" : " go") + " with " +
                    (one ? "it" : "them"),
                "--yes deletes what is below, too; 'runner run children --recursive' lists it");
  return confirmed("Delete " + printable(named) + " and the " + (more == 1 ? "run" : runs_text(more)) + " below " +
                   (one ? "it" : "them") + "?");
}

// What they left on the disk. Not to be freed now is no failure of the deletion.
std::optional<std::int64_t> freed_bytes(Session& session) {
  try {
    const Json report = post_for_lines(session, "/v1/gc", {{"keepCaches", true}});
    for (const Json& warning : member(report, "warnings"))
      if (warning.is_string()) print_error("runner: warning: " + printable(warning.get<std::string>()) + "\n");
    return static_cast<std::int64_t>(number_at(report, "diskBytes").value_or(0));
  } catch (const Error& error) {
    print_error("runner: warning: what they have on the disk goes with the next 'runner gc': " +
                printable(error.message()) + "\n");
  }
  return std::nullopt;
}

}  // namespace

int run(Session& session, const DeleteOptions& options) {
  Failures failures(session.json());
  const std::vector<Family> families = families_of(session, options.runs, failures);
  bool wanted = options.yes;
  if (!wanted) attempt(failures, [&] { wanted = is_wanted(families); });
  if (!wanted) {
    failures.throw_first();
    print_error("runner: nothing was deleted\n");
    return 1;
  }
  Json deleted = Json::array();
  std::set<std::string> gone;
  for (const Family& family : families)
    attempt(failures, [&] {
      if (gone.contains(family.id)) return;  // named twice, or with one that it was below
      const Json answer = parse_document(session.remove(run_target(family.id)));
      const Json& went = member(answer, "deleted");
      for (const Json& id : went) gone.insert(scalar_text(id));
      const std::size_t below = went.empty() ? 0 : went.size() - 1;
      if (!session.json())
        print(printable(family.id) + " deleted" + (below == 0 ? "" : ", and " + runs_text(below) + " below it") + "\n");
      for (const Json& id : went) deleted.push_back(id);
    });
  if (!gone.empty()) {
    const auto freed = freed_bytes(session);
    if (session.json())
      print(json_text(dump_document({{"deleted", deleted}, {"diskBytes", freed ? Json(*freed) : Json(nullptr)}})));
    else if (freed)
      print(format_size(*freed) + " less on the disk\n");
  }
  failures.throw_first();
  return 0;
}

}  // namespace runner::cli
