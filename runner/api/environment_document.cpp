#include "runner/api/environment_document.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>

#include "runner/api/json_handle.hpp"
#include "runner/core/error.hpp"

namespace runner::api {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLongestName = 200;  // bytes; Azure's names are shorter

Json hash_or_null(const std::optional<Hash>& hash) { return hash ? Json(hash->hex()) : Json(nullptr); }

Json row_of(const EnvironmentRow& row) {
  Json object;
  object["name"] = text_or_null(row.name);
  object["version"] = row.name.empty() ? Json(nullptr) : Json(std::to_string(row.version));
  object["kind"] = row.kind;
  object["createdTimeUtc"] = row.created ? Json(to_iso8601(*row.created)) : Json(nullptr);
  object["curated"] = row.curated;
  object["built"] = row.built ? Json(*row.built) : Json(nullptr);
  object["bytes"] = row.bytes;
  return object;
}

Json build_of(const EnvironmentBuildRow& build) {
  Json object;
  object["createdTimeUtc"] = to_iso8601(build.created);
  object["lastUsedTimeUtc"] = to_iso8601(build.used);
  object["bytes"] = build.bytes;
  object["lockDigest"] = build.lock.hex();
  object["interpreter"] = text_or_null(build.interpreter);
  object["directory"] = text_or_null(build.directory);
  object["image"] = text_or_null(build.image);
  return object;
}

Json prepared_of(const PreparedRow& prepared) {
  Json object;
  object["digest"] = prepared.digest.hex();
  object["identity"] = prepared.identity;
  object["createdTimeUtc"] = to_iso8601(prepared.created);
  object["lockDigest"] = hash_or_null(prepared.lock_digest);
  object["lock"] = prepared.lock.empty() ? Json(nullptr) : Json::parse(prepared.lock);
  object["builds"] = Json::array();
  for (const EnvironmentBuildRow& build : prepared.builds) object["builds"].push_back(build_of(build));
  return object;
}

Json side_of(const DifferenceSide& side) {
  Json object;
  object["name"] = side.name;
  object["digest"] = hash_or_null(side.digest);
  object["lockDigest"] = hash_or_null(side.lock_digest);
  return object;
}

bool begins_with_any_case(std::string_view name, std::string_view beginning) {
  return name.size() >= beginning.size() &&
         std::equal(beginning.begin(), beginning.end(), name.begin(),
                    [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); });
}

}  // namespace

EnvironmentRegistration parse_registration(std::string_view text) {
  constexpr std::array<std::string_view, 9> kFields{"name",       "directory", "requirements",   "conda", "image",
                                                    "dockerfile", "python",    "buildArguments", "caller"};
  nlohmann::json document = nlohmann::json::parse(text.empty() ? "{}" : text, nullptr, false);
  if (!document.is_object()) throw Error(ErrorCode::kInvalid, "environment: must be a JSON object");
  for (const auto& [field, value] : document.items())
    if (std::find(kFields.begin(), kFields.end(), field) == kFields.end())
      throw Error(ErrorCode::kInvalid, "environment: unknown field '" + field + "'",
                  "GET /openapi.json lists the fields");
  EnvironmentRegistration registration;
  if (const auto at = document.find("directory"); at != document.end()) {
    if (!at->is_null() && !at->is_string())
      throw Error(ErrorCode::kInvalid, "environment: 'directory' must be a string");
    if (at->is_string()) registration.directory = at->get<std::string>();
    document.erase(at);
  }
  document["sourceDirectory"] = "/";  // relative files are the caller's
  registration.source = parse_submission(document.dump());
  if (!registration.source.caller_directory.empty())
    registration.source.source_directory = registration.source.caller_directory;
  registration.name = registration.source.name.value_or("");
  return registration;
}

void check_environment_name(const std::string& name) {
  const auto refused = [&name](const std::string& why, const std::string& hint) {
    return Error(ErrorCode::kInvalid, "environment name '" + name + "': " + why, hint);
  };
  const char* allowed = "letters, digits, '_', '.' and '-', at most 200 of them";
  if (name.empty()) throw Error(ErrorCode::kInvalid, "environment name: empty", allowed);
  if (name.size() > kLongestName)
    throw Error(ErrorCode::kInvalid, "environment name: " + std::to_string(name.size()) + " characters are too many",
                allowed);
  if (name.find(':') != std::string::npos)
    throw refused("a version is given by runner and cannot be chosen", "leave out ':' and what follows");
  for (const unsigned char c : name)
    if (!(c < 0x80 && std::isalnum(c)) && c != '_' && c != '.' && c != '-')
      throw refused("holds a character that names have not", allowed);
  if (name.front() == '.' || name.front() == '-')
    throw refused("begins with '" + name.substr(0, 1) + "'", "begin with a letter, a digit or '_'");
  for (const std::string_view reserved : {"AzureML", "Microsoft"})
    if (begins_with_any_case(name, reserved))
      throw refused("names that begin with " + std::string(reserved) + " are those of curated environments",
                    "choose another name");
  if (begins_with_any_case(name, "Autosave_"))
    throw refused("names that begin with Autosave_ are given by runner", "choose another name");
}

std::string environment_list_document(const std::vector<EnvironmentRow>& rows) {
  Json document;
  document["items"] = Json::array();
  for (const EnvironmentRow& row : rows) document["items"].push_back(row_of(row));
  document["nextToken"] = nullptr;
  return dump(document);
}

std::string registered_document(const EnvironmentRow& row, bool existed, const std::vector<std::string>& warnings) {
  Json document = row_of(row);
  document["existed"] = existed;
  document["warnings"] = warnings;
  return dump(document);
}

std::string deleted_document(const std::string& name, std::int64_t versions) {
  Json document;
  document["name"] = name;
  document["deletedVersions"] = versions;
  return dump(document);
}

std::string environment_document(const EnvironmentDetails& details) {
  Json document = row_of(details.row);
  document["definition"] = Json::parse(details.definition);
  document["prepared"] = Json::array();
  for (const PreparedRow& prepared : details.prepared) document["prepared"].push_back(prepared_of(prepared));
  return dump(document);
}

std::string environment_difference_document(const EnvironmentDifference& difference) {
  Json document;
  document["before"] = side_of(difference.before);
  document["after"] = side_of(difference.after);
  document["items"] = Json::array();
  for (const std::string& line : difference.specification)
    document["items"].push_back({{"part", "specification"}, {"text", line}});
  for (const std::string& line : difference.packages)
    document["items"].push_back({{"part", "packages"}, {"text", line}});
  document["nextToken"] = nullptr;
  document["notes"] = difference.notes;
  return dump(document);
}

}  // namespace runner::api
