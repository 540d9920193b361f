// The JSON shapes of environments (docs/openapi.json), and what POST /v1/environments is sent. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runner/api/submission.hpp"
#include "runner/core/content.hpp"
#include "runner/core/time.hpp"

namespace runner::api {

struct EnvironmentRegistration {
  std::string name;                      // empty: what the directory's azureml_environment.json says
  std::optional<std::string> directory;  // as `env scaffold` writes it; relative to the caller's
  Submission source;                     // requirements, conda, image, dockerfile, python, build_arguments, caller_*
};
// Error(kInvalid) as with parse_submission; a field that only a run has is an unknown one.
EnvironmentRegistration parse_registration(std::string_view json);

// Letters, digits, '_', '.' and '-', at most 200 of them; what begins with AzureML, Microsoft (in any case of the
// letters) or Autosave_ is not the user's to give. Error(kInvalid) saying which rule it breaks.
void check_environment_name(const std::string& name);

// A registered version.
struct EnvironmentRow {
  std::string name;
  std::int64_t version = 0;
  std::string kind;
  std::optional<UtcTime> created{};  // a curated one has no time
  bool curated = false;
  std::optional<bool> built{};  // nothing: used as it is, there is nothing to build
  std::int64_t bytes = 0;       // on disk
};
std::string environment_list_document(const std::vector<EnvironmentRow>& rows);
std::string registered_document(const EnvironmentRow& row, bool existed, const std::vector<std::string>& warnings);
std::string deleted_document(const std::string& name, std::int64_t versions);

struct EnvironmentBuildRow {
  UtcTime created{};
  UtcTime used{};
  std::int64_t bytes = 0;
  Hash lock;
  std::string interpreter{};
  std::string directory{};  // absolute; empty: an image only
  std::string image{};
};
// What a specification became on a base: one identity.
struct PreparedRow {
  Hash digest;
  std::string identity{};  // the text whose SHA-256 `digest` is
  UtcTime created{};
  std::optional<Hash> lock_digest{};
  std::string lock{};  // JSON, envs/lock.hpp; empty: it is not known
  std::vector<EnvironmentBuildRow> builds{};
};
struct EnvironmentDetails {
  EnvironmentRow row;      // without a name when it was asked for by digest
  std::string definition;  // JSON: {"specification": {…}, "variables": {…}}
  std::vector<PreparedRow> prepared;
};
std::string environment_document(const EnvironmentDetails& details);

struct DifferenceSide {
  std::string name;  // as asked for
  std::optional<Hash> digest{};
  std::optional<Hash> lock_digest{};
};
struct EnvironmentDifference {
  DifferenceSide before, after;
  std::vector<std::string> specification;  // "- LINE", "+ LINE" of the identities' texts
  std::vector<std::string> packages;       // "numpy: 1.26.4 → 2.0.1 (pip)"
  std::vector<std::string> notes;          // what could not be compared
};
std::string environment_difference_document(const EnvironmentDifference& difference);

}  // namespace runner::api
