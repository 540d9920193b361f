#include "runner/pipeline/environment_registry.hpp"

#include <algorithm>
#include <system_error>
#include <utility>

#include "envs/digest.hpp"
#include "runner/core/error.hpp"
#include "runner/core/nearest.hpp"
#include "runner/pipeline/environment_rows.hpp"
#include "runner/pipeline/environment_source.hpp"
#include "runner/pipeline/line_difference.hpp"

namespace runner::pipeline {
namespace {

using envs::SpecificationKind;

constexpr const char* kAutosave = "Autosave_";

struct NameAndVersion {
  std::string name;
  std::optional<std::int64_t> version;
};

NameAndVersion split(const std::string& text) {
  const auto colon = text.rfind(':');
  const bool has_digits =
      colon != std::string::npos && text.find_first_not_of("0123456789", colon + 1) == std::string::npos;
  // The name of a saved one has the time in it.
  if (colon == std::string::npos || (text.starts_with(kAutosave) && !has_digits))
    return {.name = text, .version = std::nullopt};
  const std::string name = text.substr(0, colon);
  const std::string digits = text.substr(colon + 1);
  if (digits.empty() || digits.size() > 9 || digits.find_first_not_of("0123456789") != std::string::npos)
    throw Error(ErrorCode::kInvalid, "environment " + text + ": '" + digits + "' is not a version",
                "NAME or NAME:VERSION, for example " + name + ":1");
  return {.name = name, .version = std::stoll(digits)};
}

// What was asked for, without what was found out when it was prepared: by this a registered version and the identities
// it got on one base or another know each other.
std::string asked_for(envs::Specification specification) {
  if (specification.kind == SpecificationKind::kVenv) specification.interpreter.clear();
  specification.context_digest.clear();
  specification.dockerfile_path.clear();
  return envs::to_json(specification);
}

std::string asked_for(const store::StoredEnvironment& row) {
  return asked_for(envs::specification_from_json(row.specification));
}

envs::Specification specification_of(const store::RegisteredEnvironment& version) {
  return definition_from_json(version.definition).specification;
}

std::string text_of(const envs::Specification& specification) {
  return envs::identity_text(specification, envs::this_platform());
}

}  // namespace

std::optional<store::RegisteredEnvironment> find_version(const store::Environments& rows,
                                                         const CuratedEnvironments& curated, const std::string& name) {
  const NameAndVersion wanted = split(name);
  if (auto found = rows.version(wanted.name, wanted.version)) return found;
  auto found = curated.find(wanted.name);
  if (found && (!wanted.version || *wanted.version == found->version)) return found;
  if (found || (wanted.version && rows.version(wanted.name, std::nullopt)))
    throw Error(ErrorCode::kNotFound, "environment " + name + ": there is no such version",
                "`runner env list " + wanted.name + "` shows those there are");
  return std::nullopt;
}

EnvironmentChoice choice_of(const store::RegisteredEnvironment& environment) {
  return {.read = definition_from_json(environment.definition),
          .name = environment.name,
          .version = std::to_string(environment.version)};
}

// Which builds there are for a registered version. Reads every environment once.
class EnvironmentRegistry::Index {
 public:
  explicit Index(const EnvironmentRegistry& registry) {
    std::map<Hash, std::string> asked;
    for (const store::StoredEnvironment& row : registry.rows_.all())
      if (row.kind != "none") asked.emplace(row.digest, asked_for(row));
    for (const store::EnvironmentBuild& build : registry.rows_.builds())
      if (const auto at = asked.find(build.environment); at != asked.end() && registry.is_here(build))
        bytes_[at->second] += build.bytes;
  }

  api::EnvironmentRow row_of(const store::RegisteredEnvironment& version) const {
    const envs::Specification specification = specification_of(version);
    api::EnvironmentRow row{
        .name = version.name, .version = version.version, .kind = std::string(to_string(specification.kind))};
    if (version.created != UtcTime{}) row.created = version.created;
    row.curated = !row.created;
    if (!needs_build(specification)) return row;
    const auto at = bytes_.find(asked_for(specification));
    row.built = at != bytes_.end();
    if (*row.built) row.bytes = at->second;
    return row;
  }

 private:
  std::map<std::string, std::int64_t> bytes_;  // on disk, by what was asked for
};

bool EnvironmentRegistry::is_here(const store::EnvironmentBuild& build) const {
  std::error_code ignored;
  return build.directory.empty() || std::filesystem::exists(prepared_.prefix_of(build), ignored);
}

EnvironmentRegistry::Registered EnvironmentRegistry::add(const api::EnvironmentRegistration& registration) {
  EnvironmentSource source = read_environment_source(registration);
  if (source.name.empty())
    throw Error(ErrorCode::kInvalid, "env register: NAME is missing",
                "runner env register NAME, with --requirements FILE for example");
  api::check_environment_name(source.name);
  const std::string definition = definition_json(source.read);
  const auto registered =
      rows_.add_version(source.name, definition, envs::digest_of(std::string_view(definition)), utc_now());
  return {.environment = Index(*this).row_of(registered.environment),
          .existed = registered.existed,
          .warnings = std::move(source.read.warnings)};
}

std::vector<api::EnvironmentRow> EnvironmentRegistry::list(const std::optional<std::string>& name, bool all) const {
  std::vector<store::RegisteredEnvironment> versions = rows_.versions(name);
  if (!name) {
    const auto older = std::unique(versions.begin(), versions.end(),
                                   [](const auto& newer, const auto& other) { return newer.name == other.name; });
    versions.erase(older, versions.end());
    if (!all) std::erase_if(versions, [](const auto& version) { return version.name.starts_with(kAutosave); });
  }
  for (store::RegisteredEnvironment& curated : curated_.all())
    if (!name || curated.name == *name) versions.push_back(std::move(curated));
  if (name && versions.empty()) throw unknown(*name);
  std::stable_sort(versions.begin(), versions.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  const Index index(*this);
  std::vector<api::EnvironmentRow> rows;
  for (const store::RegisteredEnvironment& version : versions) rows.push_back(index.row_of(version));
  return rows;
}

std::optional<std::string> EnvironmentRegistry::lock_text(const std::optional<Hash>& digest) const {
  return digest ? rows_.lock(*digest) : std::nullopt;
}

api::PreparedRow EnvironmentRegistry::prepared_row(const store::StoredEnvironment& row) const {
  api::PreparedRow prepared{.digest = row.digest,
                            .identity = row.identity,
                            .created = row.created,
                            .lock_digest = row.lock,
                            .lock = lock_text(row.lock).value_or(""),
                            .builds = {}};
  for (const store::EnvironmentBuild& build : rows_.builds(row.digest))
    if (is_here(build))
      prepared.builds.push_back({.created = build.created,
                                 .used = build.used,
                                 .bytes = build.bytes,
                                 .lock = build.lock,
                                 .interpreter = build.interpreter,
                                 .directory = build.directory.empty() ? "" : prepared_.prefix_of(build).string(),
                                 .image = build.image});
  return prepared;
}

api::EnvironmentDetails EnvironmentRegistry::describe(const std::string& name) const {
  api::EnvironmentDetails details;
  if (const auto version = find_version(rows_, curated_, name)) {
    details.row = Index(*this).row_of(*version);
    details.definition = version->definition;
    const std::string asked = asked_for(specification_of(*version));
    for (const store::StoredEnvironment& row : rows_.all())
      if (row.kind == details.row.kind && asked_for(row) == asked) details.prepared.push_back(prepared_row(row));
    return details;
  }
  const auto digest = rows_.resolve(name);
  if (!digest) throw unknown(name);
  const store::StoredEnvironment row = rows_.find(*digest).value();
  details.row = {.name = {}, .version = 0, .kind = row.kind, .created = row.created};
  details.definition = definition_json({.specification = envs::specification_from_json(row.specification)});
  details.prepared.push_back(prepared_row(row));
  for (const api::EnvironmentBuildRow& build : details.prepared.front().builds) details.row.bytes += build.bytes;
  if (needs_build(envs::specification_from_json(row.specification)))
    details.row.built = !details.prepared.front().builds.empty();
  return details;
}

std::int64_t EnvironmentRegistry::remove(const std::string& name) {
  const auto version = find_version(rows_, curated_, name);
  if (!version) throw unknown(name);
  const NameAndVersion wanted = split(name);
  const std::int64_t removed = rows_.remove_version(wanted.name, wanted.version);
  if (removed == 0)
    throw Error(ErrorCode::kConflict, "environment " + name + ": comes with runner and cannot be deleted",
                "it takes no room until a run uses it; `runner gc` frees what it took");
  return removed;
}

Error EnvironmentRegistry::unknown(const std::string& name) const {
  std::vector<std::string> names;
  for (const auto& version : rows_.versions(std::nullopt)) names.push_back(version.name);
  for (const auto& curated : curated_.all()) names.push_back(curated.name);
  const std::vector<std::string_view> candidates(names.begin(), names.end());
  const auto near = nearest(name, candidates);
  return {ErrorCode::kNotFound, "environment " + name + ": there is none of that name",
          near.empty() ? "`runner env list` shows what is registered" : "did you mean '" + std::string(near) + "'?"};
}

// --- why two differ ---

struct EnvironmentRegistry::Side {
  api::DifferenceSide shown;
  std::string asked;     // its text without a base
  std::string identity;  // empty: it was never prepared
  std::optional<std::string> lock;
};

EnvironmentRegistry::Side EnvironmentRegistry::side_of_row(const std::string& name,
                                                           const store::StoredEnvironment& row) const {
  envs::Specification specification = envs::specification_from_json(row.specification);
  if (specification.kind == SpecificationKind::kVenv) specification.interpreter.clear();
  specification.context_digest.clear();
  return {.shown = {.name = name, .digest = row.digest, .lock_digest = row.lock},
          .asked = text_of(specification),
          .identity = row.identity,
          .lock = lock_text(row.lock)};
}

EnvironmentRegistry::Side EnvironmentRegistry::side_of_version(const std::string& name,
                                                               const store::RegisteredEnvironment& version) const {
  const envs::Specification specification = specification_of(version);
  const std::string asked = asked_for(specification);
  // The newest that was built; else the newest that a run asked for.
  std::optional<store::StoredEnvironment> prepared;
  for (store::StoredEnvironment& row : rows_.all()) {
    if (row.kind != to_string(specification.kind) || asked_for(row) != asked || (prepared && !row.lock)) continue;
    const bool built = row.lock.has_value();
    prepared = std::move(row);
    if (built) break;
  }
  if (prepared) return side_of_row(name, *prepared);
  return {.shown = {.name = name}, .asked = text_of(specification), .identity = {}, .lock = std::nullopt};
}

EnvironmentRegistry::Side EnvironmentRegistry::side_of_run(const std::string& name) const {
  const std::string id = [&] {
    try {
      return history_.resolve(name);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNotFound) throw;
      const Error none = unknown(name);
      throw Error(ErrorCode::kNotFound, name + ": no environment and no run has that name", none.hint());
    }
  }();
  const EnvironmentRef used = history_.get(id).environment;
  if (const auto row = rows_.find(used.digest)) {
    Side side = side_of_row(id, *row);
    side.shown.lock_digest = used.lock_digest;  // what it ran with, whatever was built since
    side.lock = lock_text(used.lock_digest);
    return side;
  }
  // An image that was used as it is.
  envs::Specification specification;
  specification.kind = SpecificationKind::kImage;
  specification.image = used.image ? used.name + " " + used.image->id : used.name;
  const std::string text = text_of(specification);
  return {.shown = {.name = id, .digest = used.digest}, .asked = text, .identity = text, .lock = std::nullopt};
}

EnvironmentRegistry::Side EnvironmentRegistry::side_of(const std::string& name) const {
  if (const auto version = find_version(rows_, curated_, name)) return side_of_version(name, *version);
  if (const auto digest = rows_.resolve(name)) return side_of_row(name, rows_.find(*digest).value());
  return side_of_run(name);
}

api::EnvironmentDifference EnvironmentRegistry::difference(const std::string& before, const std::string& after) const {
  const Side left = side_of(before);
  const Side right = side_of(after);
  api::EnvironmentDifference found{
      .before = left.shown, .after = right.shown, .specification = {}, .packages = {}, .notes = {}};
  const bool both_prepared = !left.identity.empty() && !right.identity.empty();
  found.specification =
      both_prepared ? line_difference(left.identity, right.identity) : line_difference(left.asked, right.asked);
  for (const Side* side : {&left, &right}) {
    if (side->identity.empty())
      found.notes.push_back(side->shown.name + " was never prepared: what it is built on is not compared");
    else if (!side->lock)
      found.notes.push_back(side->shown.name + " was not built: its packages are not compared");
  }
  if (left.lock && right.lock)
    found.packages = envs::difference(envs::lock_from_json(*left.lock), envs::lock_from_json(*right.lock));
  return found;
}

}  // namespace runner::pipeline
