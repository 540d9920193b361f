// Environments by name, and what became of them: registered, listed, described, compared. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runner/api/environment_document.hpp"
#include "runner/pipeline/curated_environments.hpp"
#include "runner/pipeline/environment_choice.hpp"
#include "runner/pipeline/prepared_environments.hpp"
#include "store/environments.hpp"
#include "store/history.hpp"

namespace runner::pipeline {

// "NAME" or "NAME:VERSION", of the registered or the curated ones. Nothing: there is none of that name. Error(kInvalid)
// for a version that is no number, Error(kNotFound) for one that is not there.
std::optional<store::RegisteredEnvironment> find_version(const store::Environments& rows,
                                                         const CuratedEnvironments& curated, const std::string& name);
EnvironmentChoice choice_of(const store::RegisteredEnvironment& environment);

class EnvironmentRegistry {
 public:
  EnvironmentRegistry(store::Environments& rows, const store::History& history, const PreparedEnvironments& prepared,
                      const CuratedEnvironments& curated)
      : rows_(rows), history_(history), prepared_(prepared), curated_(curated) {}

  struct Registered {
    api::EnvironmentRow environment;
    bool existed;  // the newest version has this content already
    std::vector<std::string> warnings;
  };
  // Durable on return. Errors as read_environment_source and check_environment_name.
  Registered add(const api::EnvironmentRegistration& registration);

  // The newest of each, curated ones among them; of `name` all versions. Autosaved ones only with `all` or by name.
  // Error(kNotFound) for an unknown name.
  std::vector<api::EnvironmentRow> list(const std::optional<std::string>& name, bool all) const;

  // NAME[:VERSION] or at least four digits of a digest. Error(kNotFound).
  api::EnvironmentDetails describe(const std::string& name) const;

  // One version, or all of that name: how many. Runs and builds keep what they have. Error(kNotFound), Error(kConflict)
  // for a curated one.
  std::int64_t remove(const std::string& name);

  // Why two differ: each NAME[:VERSION], a digest or a run. Error(kNotFound).
  api::EnvironmentDifference difference(const std::string& before, const std::string& after) const;

 private:
  struct Side;
  class Index;

  Side side_of(const std::string& name) const;
  Side side_of_version(const std::string& name, const store::RegisteredEnvironment& version) const;
  Side side_of_row(const std::string& name, const store::StoredEnvironment& row) const;
  Side side_of_run(const std::string& name) const;
  std::optional<std::string> lock_text(const std::optional<Hash>& digest) const;
  api::PreparedRow prepared_row(const store::StoredEnvironment& row) const;
  bool is_here(const store::EnvironmentBuild& build) const;
  Error unknown(const std::string& name) const;

  store::Environments& rows_;
  const store::History& history_;
  const PreparedEnvironments& prepared_;
  const CuratedEnvironments& curated_;
};

}  // namespace runner::pipeline
