#include "snapshot/survey.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "snapshot/walk.hpp"

namespace runner::snapshot {
namespace {

class Surveyor : public WalkVisitor {
 public:
  explicit Surveyor(Survey& survey) : survey_(survey) {}

  void enter(const WalkedDirectory&) override {}
  void files_done(const WalkedDirectory&) override {}
  void leave() override {}

  void file(const WalkedDirectory& directory, const std::string& name, bool) override {
    struct ::stat info {};
    if (::fstatat(directory.fd->get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return;  // gone meanwhile
    EntryType type = EntryType::kSymlink;
    if (S_ISREG(info.st_mode)) {
      type = (info.st_mode & S_IXUSR) != 0 ? EntryType::kExecutable : EntryType::kFile;
      if (::faccessat(directory.fd->get(), name.c_str(), R_OK, AT_EACCESS) != 0 && errno == EACCES)
        unreadable.push_back(directory.path + name);
    } else if (!S_ISLNK(info.st_mode)) {
      return;  // something else by now, which `take` would skip
    }
    survey_.bytes += info.st_size;
    survey_.files.push_back({.path = directory.path + name, .type = type, .bytes = info.st_size});
  }

  std::vector<std::string> unreadable;

 private:
  Survey& survey_;
};

}  // namespace

Survey survey(const Options& options) {
  Scope scope(options);
  Survey survey;
  Surveyor surveyor(survey);
  walk(scope, surveyor);
  surveyor.unreadable.insert(surveyor.unreadable.end(), scope.unreadable.begin(), scope.unreadable.end());
  throw_if_unreadable(std::move(surveyor.unreadable));
  std::sort(survey.files.begin(), survey.files.end(),
            [](const SurveyedFile& a, const SurveyedFile& b) { return a.path < b.path; });
  survey.warnings = std::move(scope.warnings);
  return survey;
}

}  // namespace runner::snapshot
