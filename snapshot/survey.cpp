#include "snapshot/survey.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <memory>
#include <mutex>
#include <utility>

#include "runner/core/error.hpp"
#include "snapshot/walk.hpp"
#include "snapshot/work_pool.hpp"

namespace runner::snapshot {
namespace {

class Surveyor : public WalkVisitor {
 public:
  explicit Surveyor(Survey& survey) : survey_(survey) {}

  std::shared_ptr<WalkNode> directory(const WalkedDirectory& at, std::shared_ptr<WalkNode>,
                                      std::vector<std::string> files, std::size_t) override {
    std::vector<SurveyedFile> found;
    std::vector<std::string> closed;
    for (const std::string& name : files) {
      struct ::stat info {};
      if (::fstatat(at.fd->get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == EACCES || errno == EPERM)
          closed.push_back(at.path + name);
        else if (errno != ENOENT && errno != ENOTDIR)
          throw errno_error(errno, "stat " + at.path + name);
        continue;  // gone meanwhile
      }
      EntryType type = EntryType::kSymlink;
      if (S_ISREG(info.st_mode)) {
        type = (info.st_mode & S_IXUSR) != 0 ? EntryType::kExecutable : EntryType::kFile;
        if (::faccessat(at.fd->get(), name.c_str(), R_OK, AT_EACCESS) != 0 && errno == EACCES)
          closed.push_back(at.path + name);
      } else if (!S_ISLNK(info.st_mode)) {
        continue;  // something else by now, which `take` would skip
      }
      found.push_back({.path = at.path + name, .type = type, .bytes = info.st_size});
    }
    const std::lock_guard lock(mutex_);
    for (SurveyedFile& file : found) {
      survey_.bytes += file.bytes;
      survey_.files.push_back(std::move(file));
    }
    std::move(closed.begin(), closed.end(), std::back_inserter(unreadable_));
    return nullptr;
  }
  void left_out(const std::shared_ptr<WalkNode>&) override {}

  std::vector<std::string> take_unreadable() { return std::move(unreadable_); }

 private:
  std::mutex mutex_;  // guards both
  Survey& survey_;
  std::vector<std::string> unreadable_;
};

}  // namespace

Survey survey(const Options& options) {
  Scope scope(options);
  Survey survey;
  Surveyor surveyor(survey);
  WorkPool pool;
  walk(scope, surveyor, pool);
  std::vector<std::string> unreadable = surveyor.take_unreadable();
  std::vector<std::string> directories = scope.take_unreadable();
  unreadable.insert(unreadable.end(), directories.begin(), directories.end());
  throw_if_unreadable(std::move(unreadable));
  std::sort(survey.files.begin(), survey.files.end(),
            [](const SurveyedFile& a, const SurveyedFile& b) { return a.path < b.path; });
  survey.warnings = scope.take_warnings();
  return survey;
}

}  // namespace runner::snapshot
