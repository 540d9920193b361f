#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/core/error.hpp"
#include "runner/os/fd.hpp"
#include "snapshot/scope.hpp"
#include "snapshot/snapshot.hpp"

namespace runner::snapshot {
namespace {

// "./a//b/" → a, b. Error(kInvalid) for an absolute path and for one that leaves the directory.
std::vector<std::string> components_of(const std::string& relative_path) {
  std::vector<std::string> components;
  if (relative_path.starts_with('/'))
    throw Error(ErrorCode::kInvalid, relative_path + ": not relative to the source directory");
  std::string_view rest = relative_path;
  while (!rest.empty()) {
    const std::string_view name = rest.substr(0, rest.find('/'));
    rest.remove_prefix(std::min(name.size() + 1, rest.size()));
    if (name.empty() || name == ".") continue;
    if (name == "..") throw Error(ErrorCode::kInvalid, relative_path + ": outside the source directory");
    components.emplace_back(name);
  }
  return components;
}

// With the rule's parts beside the text that names it.
Explanation by_rule(bool included, std::string reason, const Decision& decision) {
  Explanation explanation{.included = included, .reason = std::move(reason)};
  if (decision.rule == nullptr) return explanation;
  explanation.file = decision.file->shown();
  explanation.line = decision.rule->line();
  explanation.pattern = decision.rule->text();
  return explanation;
}

std::string describe(const Decision& decision) {
  if (decision.rule == nullptr) return "not ignored";
  return decision.file->shown() + ":" + std::to_string(decision.rule->line()) + ": " +
         std::string(decision.rule->text());
}

Explanation explain_file(const Decision& decision, mode_t mode, const Explanation& outside) {
  if (decision.included && !S_ISREG(mode) && !S_ISLNK(mode))
    return {.included = false, .reason = "skipped: neither a regular file nor a symbolic link"};
  if (decision.tracked == TrackedPaths::Kind::kFile) return {.included = true, .reason = "tracked"};
  if (!decision.included && decision.rule == nullptr) return outside;
  return by_rule(decision.included, describe(decision), decision);
}

Explanation explain(Scope& scope, const std::string& relative_path) {
  const std::vector<std::string> components = components_of(relative_path);
  if (components.empty()) return {.included = true, .reason = "the source directory"};
  os::Fd at(::openat(scope.root().get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  Place place = scope.root_place();
  std::string shown;
  Explanation outside;  // why nothing but tracked files is in, once an ignored directory has been entered
  if (place.tracked_only) {
    const Decision& decision = scope.root_decision();
    outside = by_rule(false, describe(decision) + " (the source directory lies in what it ignores)", decision);
  }
  for (std::size_t index = 0; index < components.size(); ++index) {
    const std::string& name = components[index];
    const bool last = index + 1 == components.size();
    struct ::stat info {};
    if (scope.is_git_name(place, name)) return {.included = false, .reason = std::string(kBuiltInGit)};
    if (::fstatat(at.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno != ENOENT) throw errno_error(errno, shown + name);
      return {.included = false, .reason = "missing"};
    }
    const Decision decision = scope.decide(place, name, S_ISDIR(info.st_mode));
    if (!S_ISDIR(info.st_mode)) {
      if (last) return explain_file(decision, info.st_mode, outside);
      return {.included = false, .reason = shown + name + " is not a directory"};
    }
    shown += name + "/";
    if (decision.rule != nullptr && decision.tracked_only)
      outside = by_rule(false, describe(decision) + (last ? "" : " (ignores " + shown + ")"), decision);
    if (!decision.included) return outside;
    os::Fd next(::openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next) throw errno_error(errno, "open " + shown);
    if (scope.is_data_directory(next.get())) return {.included = false, .reason = std::string(kBuiltInData)};
    if (scope.is_environment(next.get())) return {.included = false, .reason = std::string(kBuiltInEnvironment)};
    if (last) {
      if (decision.tracked == TrackedPaths::Kind::kRepository) return {.included = true, .reason = "tracked"};
      if (decision.tracked_only)
        return {.included = true, .reason = "tracked files inside; the rest is out: " + outside.reason};
      return by_rule(true, describe(decision), decision);
    }
    const bool has_dot_git = ::faccessat(next.get(), ".git", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    place = scope.enter(place, name, decision, next.get(), shown, has_dot_git);
    at = std::move(next);
  }
  throw Error(ErrorCode::kInternal, "explain " + relative_path);
}

}  // namespace

Explanation explain(const Options& options, const std::string& relative_path) {
  return explain(options, std::vector<std::string>{relative_path}).front();
}

std::vector<Explanation> explain(const Options& options, const std::vector<std::string>& relative_paths) {
  Scope scope(options);
  std::vector<Explanation> explanations;
  for (const std::string& path : relative_paths) explanations.push_back(explain(scope, path));
  return explanations;
}

}  // namespace runner::snapshot
