#include "runner/api/submission.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "runner/core/error.hpp"
#include "runner/core/run_bounds.hpp"

namespace runner::api {
namespace {

using nlohmann::json;

const std::string kWhere = "submission";

Error wrong(const std::string& field, const std::string& expected) {
  return Error(ErrorCode::kInvalid, kWhere + ": '" + field + "' must be " + expected);
}

// Numbers are accepted where the command line takes text ("maxRunDuration": 90): curl users write them so.
std::string text_of(const json& value, const std::string& field) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number()) return value.dump();
  throw wrong(field, "a string");
}

bool truth_of(const json& value, const std::string& field) {
  if (!value.is_boolean()) throw wrong(field, "true or false");
  return value.get<bool>();
}

std::vector<std::string> texts_of(const json& value, const std::string& field) {
  if (!value.is_array()) throw wrong(field, "a list of strings");
  std::vector<std::string> texts;
  for (const json& item : value) texts.push_back(text_of(item, field));
  return texts;
}

std::map<std::string, std::string> text_map_of(const json& value, const std::string& field) {
  if (!value.is_object()) throw wrong(field, "an object of strings");
  std::map<std::string, std::string> texts;
  for (const auto& [key, item] : value.items()) texts.emplace(key, text_of(item, field));
  return texts;
}

std::map<std::string, std::optional<std::string>> tags_of(const json& value) {
  if (!value.is_object()) throw wrong("tags", "an object of strings or nulls");
  check_count(kWhere, "tags", value.size());
  std::map<std::string, std::optional<std::string>> tags;
  for (const auto& [key, item] : value.items()) {
    check_key(kWhere, "tags", key);
    const auto tag = tags.emplace(key, item.is_null() ? std::nullopt : std::optional(text_of(item, "tags"))).first;
    check_value(kWhere, "tags", key, tag->second.value_or(""));
  }
  return tags;
}

std::map<std::string, std::string> properties_of(const json& value) {
  auto properties = text_map_of(value, "properties");
  check_count(kWhere, "properties", properties.size());
  for (const auto& [key, text] : properties) {
    check_key(kWhere, "properties", key);
    check_value(kWhere, "properties", key, text);
  }
  return properties;
}

std::string name_of(const json& value) {
  std::string name = text_of(value, "name");
  check_run_name(kWhere, name);
  return name;
}

// As a variable of a shell and as the name of a file.
void check_secret_name(const std::string& name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const bool legal = !name.empty() && letter(name.front()) &&
                     std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
  if (!legal)
    throw Error(ErrorCode::kInvalid, "--secret " + name + ": not a legal name",
                "a letter or _ first, then letters, digits and _; its value never stands on the command line");
}

using Reader = std::function<void(Submission&, const json&)>;

Reader text_into(std::optional<std::string> Submission::*member, const char* field) {
  return [member, field](Submission& into, const json& value) { into.*member = text_of(value, field); };
}

const std::unordered_map<std::string, Reader>& readers() {
  static const std::unordered_map<std::string, Reader> table{
      {"script", text_into(&Submission::script, "script")},
      {"arguments", [](Submission& s, const json& v) { s.arguments = texts_of(v, "arguments"); }},
      {"command", [](Submission& s, const json& v) { s.command = texts_of(v, "command"); }},
      {"sourceDirectory", [](Submission& s, const json& v) { s.source_directory = text_of(v, "sourceDirectory"); }},
      {"sourceDirectoryExplicit",
       [](Submission& s, const json& v) { s.source_directory_explicit = truth_of(v, "sourceDirectoryExplicit"); }},
      {"config", text_into(&Submission::config, "config")},
      {"experiment", text_into(&Submission::experiment, "experiment")},
      {"name", [](Submission& s, const json& v) { s.name = name_of(v); }},
      {"tags", [](Submission& s, const json& v) { s.tags = tags_of(v); }},
      {"properties", [](Submission& s, const json& v) { s.properties = properties_of(v); }},
      {"parentRunId", text_into(&Submission::parent_run_id, "parentRunId")},
      {"python", text_into(&Submission::python, "python")},
      {"image", text_into(&Submission::image, "image")},
      {"requirements", text_into(&Submission::requirements, "requirements")},
      {"conda", text_into(&Submission::conda, "conda")},
      {"dockerfile", text_into(&Submission::dockerfile, "dockerfile")},
      {"environment", text_into(&Submission::environment, "environment")},
      {"buildArguments", [](Submission& s, const json& v) { s.build_arguments = text_map_of(v, "buildArguments"); }},
      {"pull", [](Submission& s, const json& v) { s.pull = truth_of(v, "pull"); }},
      {"rebuild", [](Submission& s, const json& v) { s.rebuild = truth_of(v, "rebuild"); }},
      {"isolation", text_into(&Submission::isolation, "isolation")},
      {"maxRunDuration", text_into(&Submission::max_run_duration, "maxRunDuration")},
      {"grace", text_into(&Submission::grace, "grace")},
      {"cpus", text_into(&Submission::cpus, "cpus")},
      {"memory", text_into(&Submission::memory, "memory")},
      {"pids", text_into(&Submission::pids, "pids")},
      {"shmSize", text_into(&Submission::shm_size, "shmSize")},
      {"maxLogSize", text_into(&Submission::max_log_size, "maxLogSize")},
      {"gpus", text_into(&Submission::gpus, "gpus")},
      {"bestEffortLimits",
       [](Submission& s, const json& v) { s.best_effort_limits = truth_of(v, "bestEffortLimits"); }},
      {"requeue", [](Submission& s, const json& v) { s.requeue = truth_of(v, "requeue"); }},
      {"network", text_into(&Submission::network, "network")},
      {"mounts", [](Submission& s, const json& v) { s.mounts = texts_of(v, "mounts"); }},
      {"environmentVariables",
       [](Submission& s, const json& v) { s.environment_variables = text_map_of(v, "environmentVariables"); }},
      {"secrets",
       [](Submission& s, const json& v) {
         for (std::string& name : texts_of(v, "secrets")) {
           check_secret_name(name);
           if (std::find(s.secrets.begin(), s.secrets.end(), name) == s.secrets.end())
             s.secrets.push_back(std::move(name));
         }
       }},
      {"priority",
       [](Submission& s, const json& v) {
         if (!v.is_number_integer() || v.get<std::int64_t>() < -1000 || v.get<std::int64_t>() > 1000)
           throw wrong("priority", "a whole number from -1000 to 1000");
         s.priority = v.get<int>();
       }},
      {"after", [](Submission& s, const json& v) { s.after = texts_of(v, "after"); }},
      {"idempotencyKey", text_into(&Submission::idempotency_key, "idempotencyKey")},
      {"caller",
       [](Submission& s, const json& v) {
         if (!v.is_object()) throw wrong("caller", "an object");
         for (const auto& [key, value] : v.items()) {
           if (key == "directory")
             s.caller_directory = text_of(value, "caller.directory");
           else if (key == "variables")
             s.caller_variables = text_map_of(value, "caller.variables");
           else if (key == "secrets")
             s.caller_secrets = text_map_of(value, "caller.secrets");
           else
             throw Error(ErrorCode::kInvalid, "submission: unknown field 'caller." + key + "'");
         }
       }},
  };
  return table;
}

// The fields of a document, and the document itself. `kind` is its name in messages.
json parse_object(std::string_view text, const std::string& kind) {
  // Depth and size are bounded by the server's body limit. The parser's own words are not passed on: they quote what it
  // read last, and that may be a secret's value.
  json document;
  try {
    document = json::parse(text);
  } catch (const json::parse_error& error) {
    throw Error(ErrorCode::kInvalid, kind + ": not JSON: unexpected byte " + std::to_string(error.byte));
  } catch (const json::exception&) {
    throw Error(ErrorCode::kInvalid, kind + ": not JSON");
  }
  if (!document.is_object()) throw Error(ErrorCode::kInvalid, kind + ": must be a JSON object");
  return document;
}

Submission read_fields(json document, const std::string& kind) {
  Submission submission;
  for (const auto& [key, value] : document.items()) {
    const auto reader = readers().find(key);
    if (reader == readers().end())
      throw Error(ErrorCode::kInvalid, kind + ": unknown field '" + key + "'", "GET /openapi.json lists the fields");
    if (!value.is_null()) reader->second(submission, value);
  }
  document.erase("caller");
  submission.canonical = document.dump(-1, ' ', false, json::error_handler_t::replace);
  return submission;
}

}  // namespace

Submission parse_submission(std::string_view text) {
  Submission submission = read_fields(parse_object(text, "submission"), "submission");
  if (submission.source_directory.empty())
    throw Error(ErrorCode::kInvalid, "submission: 'sourceDirectory' is missing",
                "give the absolute path of the source");
  return submission;
}

Submission parse_overrides(std::string_view text) {
  // What would make it another run's code or another kind of run.
  constexpr std::array<const char*, 6> kFixed{"script", "command",  "sourceDirectory", "sourceDirectoryExplicit",
                                              "config", "isolation"};
  json document = text.empty() ? json::object() : parse_object(text, "rerun");
  for (const char* field : kFixed)
    if (document.contains(field))
      throw Error(ErrorCode::kInvalid, "rerun: '" + std::string(field) + "' is the original's and cannot be changed",
                  "submit anew to run something else");
  return read_fields(std::move(document), "rerun");
}

Submission parse_child_submission(std::string_view text) {
  // To judge them, files are read and programs executed outside of the sandbox.
  constexpr std::array<const char*, 10> kNotItsOwn{"config",     "python",         "image", "requirements", "conda",
                                                   "dockerfile", "buildArguments", "pull",  "rebuild",      "caller"};
  constexpr std::size_t kLongest = 256 << 10;
  if (text.size() > kLongest)
    throw Error(ErrorCode::kInvalid, "submission: longer than 256 KiB", "put what is long into a file of the source");
  json document = parse_object(text, "submission");
  for (const char* field : kNotItsOwn)
    if (document.contains(field) && !document[field].is_null())
      throw Error(ErrorCode::kPermission, "submit_child: '" + std::string(field) + "' is not a script's to choose",
                  "a child has its parent's environment, or a registered one (`environment`)");
  if (document.contains("secrets"))
    throw Error(ErrorCode::kPermission, "submit_child: 'secrets': a child has its parent's", "leave it out");
  for (const char* field : {"sourceDirectory", "sourceDirectoryExplicit", "parentRunId"})
    if (document.contains(field))
      throw Error(ErrorCode::kInvalid, "submit_child: unknown field '" + std::string(field) + "'",
                  "the source is `sourceTree`, the parent is in the path");
  std::string tree;
  if (const auto found = document.find("sourceTree"); found != document.end()) tree = text_of(*found, "sourceTree");
  if (tree.empty() || tree.find('/') != std::string::npos || tree.find('\0') != std::string::npos || tree == "." ||
      tree == "..")
    throw wrong("sourceTree", "the name of a directory in /run/runner/trees");
  document.erase("sourceTree");
  Submission submission = read_fields(document, "submission");
  submission.source_tree = std::move(tree);
  return submission;
}

}  // namespace runner::api
