// What the history names in the content store.
#include "store/database_check.hpp"
#include "store/history.hpp"
#include "store/history_check.hpp"
#include "store/history_rows.hpp"

namespace runner::store {
namespace {

constexpr int kRunsAtOnce = 256;

}  // namespace

void History::for_each_run_contents(const std::function<void(const RunContents&)>& visit) const {
  for (std::int64_t seq = 0;;) {
    std::vector<RunContents> found;
    {
      const auto reader = impl_->database.read();
      const ReadTransaction transaction(*reader);
      Query run =
          reader->query("SELECT seq, id, snapshot FROM run WHERE seq > ? ORDER BY seq LIMIT ?", seq, kRunsAtOnce);
      while (run.next()) {
        seq = run.integer(0);
        RunContents& contents = found.emplace_back();
        contents.id = run.string(1);
        if (!run.is_null(2)) contents.snapshot = run.hash(2);
        Query artifact = reader->query("SELECT name, bytes, sha256 FROM artifact WHERE run = ? ORDER BY name", seq);
        while (artifact.next())
          contents.artifacts.push_back({artifact.string(0), artifact.integer(1), artifact.hash(2)});
      }
    }
    if (found.empty()) return;
    for (const RunContents& contents : found) visit(contents);
  }
}

std::vector<std::string> History::check_file() const { return check_database(impl_->database); }

std::unique_ptr<HistoryCheck> History::check_rows(std::function<void()> tick) const {
  return std::make_unique<HistoryCheck>(impl_->database, std::move(tick));
}

}  // namespace runner::store
